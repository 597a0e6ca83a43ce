import { useState, type FormEvent } from "react";
import { describe, sameQuery } from "../query/query";
import { isActive } from "../store/state";
import { Conditions } from "./Conditions";
import { EventTypes } from "./EventTypes";
import { FilterBox } from "./FilterBox";
import { Options } from "./Options";
import { usePage, useSession } from "./session";

/** The question: what to watch. On a narrow screen it folds away while something is being watched. */
export function Ask() {
  const session = useSession();
  const draft = usePage((state) => state.draft);
  const running = usePage((state) => (isActive(state.run) ? state.run.query : undefined));
  const [unfolded, setUnfolded] = useState(false);
  const changed = running !== undefined && !sameQuery(running, draft);

  const submit = (event: FormEvent) => {
    event.preventDefault();
    setUnfolded(false);
    session.start();
  };

  return (
    <section className={running && !unfolded ? "ask folded" : "ask"} aria-label="Query">
      {running && (
        <div className="ask-summary">
          <span className="ask-summary-text">{describe(running)}</span>
          <button type="button" className="link" aria-expanded={unfolded} onClick={() => setUnfolded(!unfolded)}>
            {unfolded ? "Fold" : "Edit"}
          </button>
        </div>
      )}
      <form className="ask-form" onSubmit={submit}>
        {draft.standing === "" ? (
          <>
            <EventTypes />
            <Conditions />
            <FilterBox />
          </>
        ) : (
          <StandingQuery name={draft.standing} />
        )}
        <Options />
        <div className="ask-go">
          <button type="submit" className="button primary">
            Start
          </button>
          {draft.standing === "" && (
            <button type="button" className="button" title="Shows what would match, and what would not, on a sample" onClick={() => session.dialog("try")}>
              Try
            </button>
          )}
          <p className="hint" role="note">
            {changed ? "Changed: what you see is still the query before." : describeGoal(describe(draft))}
          </p>
        </div>
      </form>
    </section>
  );
}

function describeGoal(what: string): string {
  return what === "every event" ? "Nothing chosen: shows every event." : "";
}

function StandingQuery({ name }: { readonly name: string }) {
  const session = useSession();
  const standing = usePage((state) => state.standing);
  return (
    <div className="standing">
      <h2 className="label">Standing query</h2>
      <p className="standing-name">{name}</p>
      {standing && <pre className="standing-filter">{standing.filter}</pre>}
      <button type="button" className="link" onClick={() => session.leaveStanding()}>
        Ask something else
      </button>
    </div>
  );
}
