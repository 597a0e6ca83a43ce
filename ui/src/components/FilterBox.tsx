import { lazy, Suspense, useId, useMemo, useRef } from "react";
import type { Problem } from "../api/types";
import { filterProblem, type State } from "../store/state";
import { FilterText, type Handover } from "./FilterText";
import { usePage } from "./session";

/** Comes after the page is usable; without it the plain box stays. */
const CelEditor = lazy(() => import("./CelEditor").catch(() => ({ default: FilterText })));

/** The filter as text, judged by the server while one types, with the error under the place it is about. */
export function FilterBox() {
  const problem = usePage(filterProblem);
  const verdict = usePage(acceptedWords);
  const handover = useRef<Handover>(undefined);
  const id = useId();
  const box = useMemo(() => ({ labelId: `${id}label`, verdictId: `${id}verdict`, handover }), [id]);

  return (
    <div className="filter">
      <span className="label" id={box.labelId}>
        Filter
      </span>
      <Suspense fallback={<FilterText {...box} />}>
        <CelEditor {...box} />
      </Suspense>
      <div id={box.verdictId} aria-live="polite">
        {problem ? <FilterProblem problem={problem} /> : <p className="hint">{verdict}</p>}
      </div>
    </div>
  );
}

function FilterProblem({ problem }: { readonly problem: Problem }) {
  return (
    <div className="problem" data-testid="filter-error">
      {problem.caret != null && (
        <pre className="problem-caret" tabIndex={0} role="group" aria-label="Where the error is">
          {problem.caret}
        </pre>
      )}
      <p>{problem.detail}</p>
      {problem.suggestion != null && <p className="problem-suggestion">{problem.suggestion}</p>}
    </div>
  );
}

function acceptedWords(state: State): string {
  const filter = state.draft.filter.trim();
  if (filter === "") return "CEL, on the event as it came. Enter watches it, Shift+Enter breaks the line.";
  if (state.check?.filter !== filter || state.check.answer.kind !== "valid") return "";
  const { checked } = state.check.answer;
  return `Understood: ${checked.class}${checked.reason === "" ? "" : `, ${checked.reason}`}.`;
}
