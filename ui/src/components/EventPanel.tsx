import { useDeferredValue, useEffect, useMemo, useRef, useState } from "react";
import { formatCount, formatMillis } from "../format";
import { parse } from "../json/parse";
import { isTooLarge, positionOf, type EventRow } from "../store/rows";
import { tooLargeWords } from "../words";
import { CopyButton } from "./CopyButton";
import { JsonTree } from "./JsonTree";
import { WhyNot } from "./WhyNot";
import { usePage, useSession } from "./session";

const tabs = ["Tree", "Raw", "Why not?"] as const;
/** Characters of an event's text that are laid out; Copy has all. */
const maxRaw = 200_000;

/** The whole event of one row, and where in Kafka it is. */
export function EventPanel() {
  const session = useSession();
  const row = usePage((state) => state.selected);
  // Behind the frame that answers the click: a tree of many values takes longer than that may.
  const body = useDeferredValue(row, undefined);
  const [tab, setTab] = useState<(typeof tabs)[number]>("Tree");
  const close = useRef<HTMLButtonElement>(null);

  // On a narrow screen the panel covers the list, so the keyboard goes along.
  useEffect(() => {
    if (window.matchMedia("(max-width: 60rem)").matches) close.current?.focus();
  }, []);

  if (row === undefined) return null;
  return (
    <section
      className="panel"
      aria-label="Event details"
      onKeyDown={(event) => {
        if (event.key === "Escape") session.closePanel();
      }}
    >
      <div className="panel-head">
        <h2>Event</h2>
        <CopyButton text={() => row.body} label="Copy" />
        <button ref={close} type="button" className="button small" onClick={() => session.closePanel()}>
          Close
        </button>
      </div>
      <Origin row={row} />
      {isTooLarge(row) ? (
        <p className="panel-note">{tooLargeWords}</p>
      ) : (
        <>
          <div className="tabs">
            {tabs.map((name) => (
              <button key={name} type="button" className="tab" aria-pressed={tab === name} onClick={() => setTab(name)}>
                {name}
              </button>
            ))}
          </div>
          {body && tab === "Tree" && <Tree key={body.source} text={body.body} />}
          {body && tab === "Raw" && <Raw text={body.body} />}
          {body && tab === "Why not?" && <Why row={body} />}
        </>
      )}
    </section>
  );
}

function Origin({ row }: { readonly row: EventRow }) {
  const zone = usePage((state) => state.view.time);
  const { topic, partition, offset } = positionOf(row);
  return (
    <dl className="origin">
      <dt>Time</dt>
      <dd>
        {zone === "local" && new Date(row.time).toLocaleDateString()} {formatMillis(row.time, zone)}
      </dd>
      <dt>UTC</dt>
      <dd>{row.time}</dd>
      <dt>Topic</dt>
      <dd>{topic}</dd>
      <dt>Partition</dt>
      <dd>{partition}</dd>
      <dt>Offset</dt>
      <dd>{offset}</dd>
    </dl>
  );
}

function Tree({ text }: { readonly text: string }) {
  const json = useMemo(() => parse(text), [text]);
  return json === undefined ? <Raw text={text} /> : <JsonTree json={json} />;
}

/** Exactly as it came. */
function Raw({ text }: { readonly text: string }) {
  return (
    <div className="json" tabIndex={0} role="group" aria-label="Event as JSON">
      <pre className="json-raw">{text.slice(0, maxRaw)}</pre>
      {text.length > maxRaw && <p className="hint">{formatCount(text.length - maxRaw)} more characters; Copy has all of them.</p>}
    </div>
  );
}

function Why({ row }: { readonly row: EventRow }) {
  const fields = usePage((state) => state.run?.query.fields ?? "");
  return (
    <div className="json" tabIndex={0} role="group" aria-label="Why the event matches or not">
      {fields !== "" && <p className="hint">The event is here only in part (More options, Only these fields), so clauses on other fields find nothing.</p>}
      <WhyNot row={row} />
    </div>
  );
}
