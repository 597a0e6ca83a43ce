import { useEffect, useId, useRef, type KeyboardEvent } from "react";
import type { Problem } from "../api/types";
import { spanOfBytes } from "../query/position";
import { filterProblem, type State } from "../store/state";
import { usePage, useSession } from "./session";

/** The filter as text, judged by the server while one types, with the error under the place it is about. */
export function FilterBox() {
  const session = useSession();
  const filter = usePage((state) => state.draft.filter);
  const problem = usePage(filterProblem);
  const verdict = usePage(acceptedWords);
  const refused = usePage((state) => (state.run?.phase === "ended" && state.run.ended?.reason === "refused" ? state.run.id : undefined));
  const box = useRef<HTMLTextAreaElement>(null);
  const id = useId();

  // A start that was refused leads back to the place to mend.
  useEffect(() => {
    if (refused === undefined) return;
    const refusal = filterProblem(session.store.state);
    if (refusal?.offset == null || box.current === null) return;
    // Positions are those of the filter as sent, without the spaces around it.
    const text = box.current.value;
    const before = text.length - text.trimStart().length;
    const { start, end } = spanOfBytes(text.trim(), refusal.offset, refusal.length ?? 0);
    box.current.focus();
    box.current.setSelectionRange(before + start, before + end);
  }, [refused, session]);

  const startOnEnter = (event: KeyboardEvent<HTMLTextAreaElement>) => {
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    event.currentTarget.form?.requestSubmit();
  };

  return (
    <div className="filter">
      <label className="label" htmlFor={id}>
        Filter
      </label>
      <textarea
        ref={box}
        id={id}
        className="filter-text"
        rows={2}
        spellCheck={false}
        autoCapitalize="off"
        autoComplete="off"
        placeholder={'event.platform == "mobile"'}
        value={filter}
        aria-invalid={problem !== undefined}
        aria-describedby={`${id}verdict`}
        onChange={(event) => session.edit({ ...session.store.state.draft, filter: event.target.value })}
        onKeyDown={startOnEnter}
      />
      <div id={`${id}verdict`} aria-live="polite">
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
  if (filter === "") return "CEL, on the event as it came. Enter starts, Shift+Enter breaks the line.";
  if (state.check?.filter !== filter || state.check.answer.kind !== "valid") return "";
  const { checked } = state.check.answer;
  return `Understood: ${checked.class}${checked.reason === "" ? "" : `, ${checked.reason}`}.`;
}
