import { useMemo, type ReactNode } from "react";
import { formatCount, formatRate, formatTime } from "../format";
import { counters } from "../store/select";
import { usePage } from "./session";

/** The numbers that tell a viewer whether to trust the silence; they change together, once a second. */
export function Counters() {
  const run = usePage((state) => state.run);
  const zone = usePage((state) => state.view.time);
  const now = useMemo(() => run && counters(run), [run]);
  if (now === undefined) return null;
  return (
    <dl className="counters">
      <div className="counter" title="From then on nothing that matches is missed">
        <dt>Live since</dt>
        <dd>
          <span className="counter-value" data-testid="live-since" data-value={run?.liveSince ?? ""}>
            {run?.liveSince === undefined ? "–" : formatTime(run.liveSince, zone)}
          </span>
          <span className="counter-more">{zone === "utc" ? "UTC" : ""}</span>
        </dd>
      </div>
      <Counter name="Scanned" id="scanned" value={now.scanned} help="Events looked at since the start">
        {formatRate(now.scannedPerSecond)}
      </Counter>
      <Counter name="Matched" id="matched" value={now.matched} stated={now.statedMatched} help="Events for which the query holds">
        {formatRate(now.matchedPerSecond)}
      </Counter>
      <Counter name="Shown" id="shown" value={now.shown} help="Matches that reached this list">
        {formatRate(now.shownPerSecond)}
      </Counter>
      <Counter name="Left out" id="left-out" value={now.leftOut} help="Matches that were counted but not sent" warn={now.leftOut > 0}>
        {leftOutWords(now.leftOutRate, now.leftOutSlow)}
      </Counter>
      <Counter name="Lag" id="lag" value={now.lagRecords} help="Events on the topic that are not yet scanned">
        {now.lagRecords === undefined ? "" : now.lagRecords === 0 ? "up to date" : "events"}
      </Counter>
      <div className="counter" title="Every event up to here has been looked at">
        <dt>Complete to</dt>
        <dd>
          <span className="counter-value" data-testid="complete-to" data-value={now.completeTo ?? ""}>
            {now.completeTo === undefined ? "–" : formatTime(now.completeTo, zone)}
          </span>
          <span className="counter-more">{now.unreadable > 0 ? `${formatCount(now.unreadable)} unreadable` : ""}</span>
        </dd>
      </div>
    </dl>
  );
}

interface CounterProps {
  readonly name: string;
  readonly id: string;
  readonly value: number | undefined;
  readonly help: string;
  /** As the server stated it last, where the page knows of more already. */
  readonly stated?: number;
  readonly warn?: boolean;
  readonly children: ReactNode;
}

function Counter({ name, id, value, stated, help, warn = false, children }: CounterProps) {
  return (
    <div className={warn ? "counter warn" : "counter"} title={help}>
      <dt>{name}</dt>
      <dd>
        <span className="counter-value" data-testid={id} data-value={value ?? ""} data-stated={stated}>
          {value === undefined ? "–" : formatCount(value)}
        </span>
        <span className="counter-more">{children}</span>
      </dd>
    </div>
  );
}

function leftOutWords(rate: number, slow: number): string {
  if (rate > 0 && slow > 0) return `${formatCount(rate)} rate, ${formatCount(slow)} slow`;
  if (rate > 0) return "over the rate";
  return slow > 0 ? "too slow here" : "";
}
