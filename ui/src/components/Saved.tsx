import { plural } from "../format";
import { emptyQuery, toSearch } from "../query/query";
import { Dialog } from "./Dialog";
import { usePage, useSession } from "./session";

/** What can be opened: views of this browser, and the standing queries of everybody. */
export function Saved() {
  return (
    <Dialog name="saved" title="Saved views and standing queries">
      <Views />
      <StandingQueries />
    </Dialog>
  );
}

function Views() {
  const session = useSession();
  const saved = usePage((state) => state.saved);
  return (
    <section aria-label="Saved views">
      <h3>Saved in this browser</h3>
      {saved.length === 0 && <p className="hint">None yet. Keep saves the query, its columns and the view.</p>}
      <ul className="openable">
        {saved.map(({ name, search }) => (
          <li key={name}>
            <button type="button" className="link" onClick={() => session.open(search)}>
              {name}
            </button>
            <button type="button" className="icon" aria-label={`Forget ${name}`} title="Forget" onClick={() => session.forget(name)}>
              ×
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}

function StandingQueries() {
  const session = useSession();
  const queries = usePage((state) => state.standingQueries);
  return (
    <section aria-label="Standing queries">
      <h3>Standing queries</h3>
      {queries === undefined && <p className="hint">Reading…</p>}
      {queries?.length === 0 && <p className="hint">None. Keep shows how to make one of a query.</p>}
      <ul className="openable">
        {queries?.map(({ id, namespace, name, filter, subscribers }) => (
          <li key={`${id}${namespace}/${name}`}>
            <div>
              <button type="button" className="link" onClick={() => session.open(toSearch({ ...emptyQuery, standing: `${namespace}/${name}` }, ""))}>
                {namespace}/{name}
              </button>{" "}
              <span className="muted">{plural(subscribers, "viewer")}</span>
              <pre className="openable-filter">{filter}</pre>
            </div>
          </li>
        ))}
      </ul>
    </section>
  );
}
