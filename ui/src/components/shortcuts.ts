import { useEffect } from "react";
import type { Session } from "../session";
import { isActive } from "../store/state";
import { useSession } from "./session";

/** What the help says, in its order. */
export const shortcuts: readonly (readonly [string, string])[] = [
  ["/", "Write the filter"],
  ["Space", "Hold the list, or let it go"],
  ["j", "Next row down"],
  ["k", "Next row up"],
  ["Enter", "Open the row"],
  ["Escape", "Close the event"],
  ["?", "This list"],
];

export function useShortcuts(): void {
  const session = useSession();
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || session.store.state.dialog !== undefined) return;
      const target = event.composedPath()[0];
      if (!(target instanceof Element) || isWritten(target) || (event.key === " " && isPressed(target))) return;
      if (act(session, event.key)) event.preventDefault();
    };
    window.addEventListener("keydown", onKeyDown);
    return () => window.removeEventListener("keydown", onKeyDown);
  }, [session]);
}

function act(session: Session, key: string): boolean {
  const { state } = session.store;
  switch (key) {
    case "/":
      return focusFilter();
    case " ":
      if (!isActive(state.run)) return false;
      if (state.paused === undefined) session.pause("button");
      else session.resume();
      return true;
    case "j":
    case "k": {
      if (state.run === undefined) return false;
      session.move((at) => (key === "j" ? at + 1 : at - 1));
      document.querySelector<HTMLElement>('[role="grid"]')?.focus({ preventScroll: true });
      return true;
    }
    case "Escape":
      if (state.selected === undefined) return false;
      session.closePanel();
      return true;
    case "?":
      session.dialog("help");
      return true;
    default:
      return false;
  }
}

/** The editor lives in a shadow tree of its own. */
function focusFilter(): boolean {
  const host = document.querySelector("[data-filter]");
  const box = host?.shadowRoot?.querySelector<HTMLElement>("[role=textbox]") ?? document.querySelector<HTMLElement>("textarea[data-filter]");
  box?.focus();
  return box !== null && box !== undefined;
}

function isWritten(element: Element): boolean {
  return element.matches("input:not([type=checkbox]), textarea, select") || (element instanceof HTMLElement && element.isContentEditable);
}

function isPressed(element: Element): boolean {
  return element.closest("button, summary, a, input") !== null;
}
