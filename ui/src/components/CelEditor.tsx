import { useEffect, useLayoutEffect, useRef } from "react";
import { CelView } from "../editor/view";
import { spanOfBytes } from "../query/position";
import { filterProblem, type State } from "../store/state";
import type { FilterBoxProps } from "./FilterText";
import { usePage, useSession } from "./session";

/**
 * The filter in CodeMirror. It stands in a shadow tree, because there its styles are style sheets of the document's
 * own making, which the page's policy allows, and elsewhere inline styles, which it does not.
 */
export default function CelEditor({ handover }: FilterBoxProps) {
  const session = useSession();
  const host = useRef<HTMLDivElement>(null);
  const editor = useRef<CelView>(undefined);
  const filter = usePage((state) => state.draft.filter);
  const problem = usePage(filterProblem);
  const refused = usePage((state) => (state.run?.phase === "ended" && state.run.ended?.reason === "refused" ? state.run.id : undefined));

  useLayoutEffect(() => {
    const element = host.current;
    if (element === null) return;
    const shadow = element.shadowRoot ?? element.attachShadow({ mode: "open" });
    const { store } = session;
    const view = new CelView(shadow, store.state.draft.filter, {
      changed: (text) => session.edit({ ...store.state.draft, filter: text }),
      entered: () => element.closest("form")?.requestSubmit(),
      known: () => ({ fields: store.state.fields, eventTypes: store.state.eventTypes ?? [], eventTypeField: store.state.pipeline.eventTypeField }),
    });
    editor.current = view;
    if (handover.current !== undefined) {
      view.select(handover.current.start, handover.current.end);
      handover.current = undefined;
    }
    return () => view.destroy();
  }, [session, handover]);

  useEffect(() => editor.current?.setText(filter), [filter]);
  useEffect(() => editor.current?.setProblem(problem === undefined ? undefined : (spanOf(session.store.state) ?? { start: 0, end: 0 })), [problem, session]);

  // A start that was refused leads back to the place to mend.
  useEffect(() => {
    const span = refused === undefined ? undefined : spanOf(session.store.state);
    if (span !== undefined) editor.current?.select(span.start, span.end);
  }, [refused, session]);

  return <div ref={host} data-filter="" className="filter-editor" />;
}

/** Positions are those of the filter as sent, without the spaces around it. */
function spanOf(state: State): { readonly start: number; readonly end: number } | undefined {
  const problem = filterProblem(state);
  if (problem?.offset == null) return undefined;
  const text = state.draft.filter;
  const before = text.length - text.trimStart().length;
  const { start, end } = spanOfBytes(text.trim(), problem.offset, problem.length ?? 0);
  return { start: before + start, end: before + end };
}
