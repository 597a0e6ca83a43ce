import { useLayoutEffect, useRef, type KeyboardEvent, type RefObject } from "react";
import { filterProblem } from "../store/state";
import { usePage, useSession } from "./session";

/** Where the viewer was writing when the editor took the plain box's place. */
export interface Handover {
  readonly start: number;
  readonly end: number;
}

export interface FilterBoxProps {
  readonly labelId: string;
  readonly verdictId: string;
  readonly handover: RefObject<Handover | undefined>;
}

/** The filter in a plain box: there at once, until the editor has come. */
export function FilterText({ labelId, verdictId, handover }: FilterBoxProps) {
  const session = useSession();
  const filter = usePage((state) => state.draft.filter);
  const invalid = usePage((state) => filterProblem(state) !== undefined);
  const box = useRef<HTMLTextAreaElement>(null);

  useLayoutEffect(() => {
    const element = box.current;
    return () => {
      if (element !== null && document.activeElement === element) handover.current = { start: element.selectionStart, end: element.selectionEnd };
    };
  }, [handover]);

  const startOnEnter = (event: KeyboardEvent<HTMLTextAreaElement>) => {
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    event.currentTarget.form?.requestSubmit();
  };

  return (
    <textarea
      ref={box}
      data-filter=""
      className="filter-text"
      rows={2}
      spellCheck={false}
      autoCapitalize="off"
      autoComplete="off"
      placeholder={'event.platform == "mobile"'}
      value={filter}
      aria-labelledby={labelId}
      aria-invalid={invalid}
      aria-describedby={verdictId}
      onChange={(event) => session.edit({ ...session.store.state.draft, filter: event.target.value })}
      onKeyDown={startOnEnter}
    />
  );
}
