import { useEffect, useState } from "react";
import * as api from "../api/client";
import type { ExplainAnswer } from "../api/client";
import type { Explained } from "../api/types";
import { wholeFilter } from "../query/keep";
import { visible } from "../format";
import type { EventRow } from "../store/rows";
import { usePage } from "./session";

/** Holds one event against the filter of the form, clause by clause. */
export function WhyNot({ row }: { readonly row: EventRow }) {
  const filter = usePage((state) => (state.draft.standing === "" ? wholeFilter(state.draft, state.pipeline.eventTypeField) : state.standing?.filter));
  const [answer, setAnswer] = useState<ExplainAnswer>();
  useEffect(() => {
    if (filter === undefined) return;
    let wanted = true;
    setAnswer(undefined);
    void api.explain(filter, row).then((answered) => {
      if (wanted) setAnswer(answered);
    });
    return () => {
      wanted = false;
    };
  }, [filter, row]);
  return <Explanation answer={filter === undefined ? { kind: "unknown" } : answer} />;
}

export function Explanation({ answer }: { readonly answer: ExplainAnswer | undefined }) {
  if (answer === undefined) return <p className="hint">Asking…</p>;
  if (answer.kind === "unknown") return <p className="hint">The server cannot say now.</p>;
  if (answer.kind === "refused") return <p className="problem">{answer.problem.detail}</p>;
  const { result, decided, tree } = answer.explanation;
  return (
    <div className="explanation" data-testid="explanation" data-result={result}>
      <p className="decided">{visible(decided.reason)}</p>
      <ul className="clauses">
        <Clause part={tree} decided={decided} />
      </ul>
    </div>
  );
}

function Clause({ part, decided }: { readonly part: Explained; readonly decided: { readonly offset: number; readonly length: number } }) {
  const [mark, words] = verdict(part);
  const decides = part.offset === decided.offset && part.length === decided.length;
  return (
    <li className={`clause ${mark}${decides ? " decides" : ""}`}>
      <code>{visible(part.text)}</code> <span className="clause-value">{words}</span>
      {part.children !== undefined && part.children.length > 0 && (
        <ul className="clauses">
          {part.children.map((child, index) => (
            <Clause key={index} part={child} decided={decided} />
          ))}
        </ul>
      )}
    </li>
  );
}

function verdict({ value, error }: Explained): readonly ["holds" | "fails" | "value" | "error", string] {
  if (error !== undefined) return ["error", `! ${visible(error)}`];
  if (value === "true") return ["holds", "✓ true"];
  if (value === "false") return ["fails", "✗ false"];
  return ["value", visible(value ?? "")];
}
