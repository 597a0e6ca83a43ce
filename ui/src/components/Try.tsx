import { useMemo, useState } from "react";
import { formatMillis, plural } from "../format";
import type { Trial, Tried } from "../store/state";
import { trialRate, trialSeconds } from "../trial";
import { Pairs } from "./cells";
import { Dialog } from "./Dialog";
import { Explanation } from "./WhyNot";
import { usePage, useSession } from "./session";

/** What would match, and what would not, before anything is started. */
export function Try() {
  return (
    <Dialog name="try" title="Try the query" wide>
      <Sample />
    </Dialog>
  );
}

function Sample() {
  const session = useSession();
  const trial = usePage((state) => state.trial);
  const [matching, others] = useMemo(() => split(trial), [trial]);
  if (trial === undefined) return null;
  return (
    <>
      <p className="hint">
        A sample of every event, {trialRate} a second for {trialSeconds} seconds, each held against the query by the server.
      </p>
      <pre className="try-filter">{trial.filter}</pre>
      <div className="try-state">
        <p role="status" aria-label="Sample" data-testid="try-state" data-phase={trial.phase}>
          {stateWords(trial, matching.length)}
        </p>
        {(trial.phase === "done" || trial.phase === "failed") && (
          <button type="button" className="button small" onClick={() => session.trial.start()}>
            Again
          </button>
        )}
        <button
          type="button"
          className="button small primary"
          onClick={() => {
            session.dialog(undefined);
            session.start();
          }}
        >
          Watch it
        </button>
      </div>
      <div className="try-lists">
        <List title="Match" events={matching} name="try-matching" />
        <List title="Do not match" events={others} name="try-others" />
      </div>
    </>
  );
}

function stateWords({ phase, message, events, scanned }: Trial, matching: number): string {
  if (phase === "failed") return message;
  if (phase === "starting") return "Asking the server…";
  const passed = scanned > events.length ? ` ${plural(scanned, "event")} passed by.` : "";
  return `${phase === "running" ? "Looking: " : ""}${matching} of ${plural(events.length, "event")} match.${passed}`;
}

function split(trial: Trial | undefined): readonly [readonly Tried[], readonly Tried[]] {
  const answered = trial?.events.filter(({ answer }) => answer?.kind === "explained") ?? [];
  const holds = ({ answer }: Tried) => answer?.kind === "explained" && answer.explanation.result === "match";
  return [answered.filter(holds), answered.filter((tried) => !holds(tried))];
}

function List({ title, events, name }: { readonly title: string; readonly events: readonly Tried[]; readonly name: string }) {
  return (
    <section aria-label={title} data-testid={name}>
      <h3>
        {title} <span className="muted">{events.length}</span>
      </h3>
      <ul className="try-list">
        {events.map((tried) => (
          <Item key={tried.row.seq} tried={tried} />
        ))}
      </ul>
    </section>
  );
}

function Item({ tried }: { readonly tried: Tried }) {
  const [open, setOpen] = useState(false);
  const zone = usePage((state) => state.view.time);
  const matches = tried.answer?.kind === "explained" && tried.answer.explanation.result === "match";
  return (
    <li>
      <p className="try-event">
        <span className="muted">{formatMillis(tried.row.time, zone)}</span>{" "}
        <Pairs row={tried.row} without={[]} limit={160} />
      </p>
      <button type="button" className="link" aria-expanded={open} onClick={() => setOpen(!open)}>
        {matches ? "Why?" : "Why not?"}
      </button>
      {open && <Explanation answer={tried.answer} />}
    </li>
  );
}
