import { useState } from "react";
import { plural } from "../format";
import { curlLine, standingYaml, tailLine } from "../query/keep";
import { shownRows } from "../store/select";
import { CopyButton } from "./CopyButton";
import { Dialog } from "./Dialog";
import { usePage, useSession } from "./session";

/** The query for later, for others, and for other tools. */
export function Keep() {
  return (
    <Dialog name="keep" title="Keep this query" wide>
      <Ways />
    </Dialog>
  );
}

function Ways() {
  const session = useSession();
  const draft = usePage((state) => state.draft);
  const pipeline = usePage((state) => state.pipeline);
  const shown = usePage((state) => shownRows(state).end - shownRows(state).first);
  const { origin, pathname } = window.location;
  return (
    <>
      <SaveForm />
      <Text title="Link" hint="Carries the query, the columns and the view." text={`${origin}${pathname}${session.search()}`} />
      {draft.standing === "" && (
        <Text
          title="Keep as standing query"
          hint="For kubectl apply: it goes on when this page is closed, and everybody can open it."
          text={standingYaml(draft, pipeline)}
        />
      )}
      <Text title="In a terminal" hint="One event per line." text={tailLine(draft, origin)} />
      <Text title="With curl" hint="Server-sent events." text={curlLine(draft, origin)} />
      <section className="way">
        <h3>What the list shows</h3>
        <p className="hint">{plural(shown, "row")}, as a file.</p>
        <div className="way-buttons">
          <button type="button" className="button small" disabled={shown === 0} onClick={() => session.export("ndjson")}>
            NDJSON
          </button>
          <button type="button" className="button small" disabled={shown === 0} onClick={() => session.export("csv")}>
            CSV
          </button>
        </div>
      </section>
    </>
  );
}

function SaveForm() {
  const session = useSession();
  const [name, setName] = useState("");
  const [kept, setKept] = useState("");
  return (
    <form
      className="way"
      onSubmit={(event) => {
        event.preventDefault();
        if (name.trim() === "") return;
        session.save(name.trim());
        setKept(name.trim());
      }}
    >
      <h3>In this browser</h3>
      <div className="way-buttons">
        <input className="text" aria-label="Name of the view" placeholder="name" maxLength={100} value={name} onChange={(event) => setName(event.target.value)} />
        <button type="submit" className="button small">
          Save
        </button>
        <span className="hint" aria-live="polite">
          {kept !== "" && `Saved as ${kept}.`}
        </span>
      </div>
    </form>
  );
}

function Text({ title, hint, text }: { readonly title: string; readonly hint: string; readonly text: string }) {
  return (
    <section className="way" aria-label={title}>
      <div className="way-head">
        <h3>{title}</h3>
        <CopyButton text={() => text} label={`Copy ${title.toLowerCase()}`}>
          Copy
        </CopyButton>
      </div>
      <p className="hint">{hint}</p>
      <pre className="way-text" tabIndex={0} role="group" aria-label={`Text of ${title.toLowerCase()}`}>
        {text}
      </pre>
    </section>
  );
}
