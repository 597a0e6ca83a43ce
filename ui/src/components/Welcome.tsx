import { useMemo } from "react";
import { examples } from "../query/examples";
import { usePage, useSession } from "./session";

/** What someone sees who has never been here: what to do, and something to try at once. */
export function Welcome() {
  const session = useSession();
  const types = usePage((state) => state.eventTypes);
  const fields = usePage((state) => state.fields);
  const typeField = usePage((state) => state.pipeline.eventTypeField);
  const offered = useMemo(() => examples(types ?? [], fields, typeField), [types, fields, typeField]);
  const total = types?.reduce((sum, { perSecond }) => sum + perSecond, 0) ?? 0;

  return (
    <div className="welcome">
      <h2>Watch events as they happen</h2>
      <ol className="steps">
        <li>
          <strong>Choose</strong> one or more event types, or write a filter on any field.
        </li>
        <li>
          <strong>Start.</strong> Matches appear within a moment; the counters say what was scanned, matched, and left out.
        </li>
        <li>
          <strong>Click a row</strong> to read the whole event. Pausing loses nothing.
        </li>
      </ol>
      {offered.length > 0 && (
        <div className="examples">
          <h3>Or try one of these</h3>
          <ul>
            {offered.map(({ title, filter }) => (
              <li key={filter}>
                <button
                  type="button"
                  className="example"
                  onClick={() => {
                    session.edit({ ...session.store.state.draft, eventTypes: [], filter });
                    session.start();
                  }}
                >
                  <span>{title}</span>
                  <code>{filter}</code>
                </button>
              </li>
            ))}
          </ul>
        </div>
      )}
      {total > 0 && <p className="hint">Right now about {Math.max(1, Math.round(total))} events a second go by.</p>}
    </div>
  );
}
