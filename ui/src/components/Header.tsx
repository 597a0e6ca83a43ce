import { connectionWords } from "../words";
import { usePage, useSession } from "./session";

export function Header() {
  const session = useSession();
  const pipeline = usePage((state) => state.pipeline.pipeline);
  return (
    <header className="header">
      <h1 className="brand">
        <Mark />
        Clickstream
      </h1>
      {pipeline !== "" && (
        <span className="pipeline" title="Pipeline">
          {pipeline}
        </span>
      )}
      <div className="header-end">
        <Clock />
        <button type="button" className="button small" onClick={() => session.dialog("saved")}>
          Saved
        </button>
        <button type="button" className="button small" onClick={() => session.dialog("keep")}>
          Keep
        </button>
        <button type="button" className="button small" aria-label="Help" title="Keyboard" onClick={() => session.dialog("help")}>
          ?
        </button>
        <Connection />
      </div>
    </header>
  );
}

function Clock() {
  const session = useSession();
  const time = usePage((state) => state.view.time);
  return (
    <button
      type="button"
      className="button small"
      aria-label={time === "utc" ? "Times in UTC" : "Times in local time"}
      title="Changes between local time and UTC"
      onClick={() => session.look({ time: time === "utc" ? "local" : "utc" })}
    >
      {time === "utc" ? "UTC" : "Local"}
    </button>
  );
}

function Connection() {
  const session = useSession();
  const connection = usePage((state) => state.connection);
  // A try that follows a failed one is still the same trouble to the viewer.
  const trouble = connection.state === "reconnecting" || (connection.state === "connecting" && connection.attempt > 0);
  const state = trouble ? "reconnecting" : connection.state;
  return (
    <div className="connection">
      {connection.state === "reconnecting" && (
        <button type="button" className="link" onClick={() => session.reconnect()}>
          Try now
        </button>
      )}
      <div role="status" aria-label="Connection" data-state={state} className="connection-state">
        <span className="dot" aria-hidden="true" />
        {trouble ? "Reconnecting…" : connectionWords(connection)}
      </div>
    </div>
  );
}

function Mark() {
  return (
    <svg viewBox="0 0 32 32" width="26" height="26" aria-hidden="true" className="mark">
      <rect width="32" height="32" rx="8" className="mark-ground" />
      <path d="M7 10h11M7 16h18M7 22h8" className="mark-lines" />
      <circle cx="23" cy="10" r="2.6" className="mark-dot" />
    </svg>
  );
}
