import { isActive } from "../store/state";
import { situation } from "../words";
import { usePage, useSession } from "./session";

/** What is happening, in a sentence, and the buttons that change it. */
export function Toolbar() {
  const session = useSession();
  const active = usePage((state) => isActive(state.run));
  const paused = usePage((state) => state.paused !== undefined);
  const newest = usePage((state) => state.view.newest);

  return (
    <div className="toolbar">
      <Situation />
      <div className="toolbar-view">
        <button type="button" className="button small" onClick={() => session.dialog("columns")}>
          Columns
        </button>
        <button
          type="button"
          className="button small"
          aria-label={newest === "top" ? "Newest at the top" : "Newest at the bottom"}
          title="Changes where new matches appear"
          onClick={() => session.look({ newest: newest === "top" ? "bottom" : "top" })}
        >
          {newest === "top" ? "Newest ↑" : "Newest ↓"}
        </button>
      </div>
      {active && (
        <div className="toolbar-buttons">
          {paused ? (
            <button type="button" className="button primary" onClick={() => session.resume()}>
              Resume
            </button>
          ) : (
            <button type="button" className="button" onClick={() => session.pause("button")}>
              Pause
            </button>
          )}
          <button type="button" className="button" onClick={() => session.stop()}>
            Stop
          </button>
        </div>
      )}
    </div>
  );
}

function Situation() {
  const tone = usePage((state) => situation(state).tone);
  const text = usePage((state) => situation(state).text);
  const phase = usePage((state) => state.run?.phase);
  return (
    <p className={`situation ${tone}`} data-testid="situation" data-phase={phase}>
      <span className="dot" aria-hidden="true" />
      {text}
    </p>
  );
}
