import { useEffect, useRef, useState } from "react";
import { formatMillis } from "../format";
import { isTooLarge, type EventRow } from "../store/rows";
import { tooLargeWords } from "../words";
import { JsonView } from "./JsonView";
import { usePage, useSession } from "./session";

/** The whole event of one row, and where in Kafka it is. */
export function EventPanel() {
  const session = useSession();
  const seq = usePage((state) => state.selected);
  // Kept while it is open, so that it stays readable when its row leaves the list.
  const [kept, setKept] = useState<EventRow>();
  const row = seq === undefined ? undefined : session.store.rows.get(seq);
  useEffect(() => {
    if (row?.kind === "event") setKept(row);
  }, [row]);
  const shown = row?.kind === "event" ? row : kept;
  const close = useRef<HTMLButtonElement>(null);

  // On a narrow screen the panel covers the list, so the keyboard goes along.
  useEffect(() => {
    if (window.matchMedia("(max-width: 60rem)").matches) close.current?.focus();
  }, []);

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
        {shown && <CopyButton text={shown.body} />}
        <button ref={close} type="button" className="button small" onClick={() => session.closePanel()}>
          Close
        </button>
      </div>
      {shown && (
        <>
          <Origin row={shown} />
          {isTooLarge(shown) ? <p className="panel-note">{tooLargeWords}</p> : <JsonView text={shown.body} />}
        </>
      )}
    </section>
  );
}

function Origin({ row }: { readonly row: EventRow }) {
  const [topic, partition, offset] = splitSource(row.source);
  return (
    <dl className="origin">
      <dt>Time</dt>
      <dd>
        {new Date(row.time).toLocaleDateString()} {formatMillis(row.time)}
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

/** A topic's name has no slash, so the last two parts are the partition and the offset. */
function splitSource(source: string): readonly [string, string, string] {
  const parts = source.split("/");
  return [parts.slice(0, -2).join("/"), parts.at(-2) ?? "", parts.at(-1) ?? ""];
}

function CopyButton({ text }: { readonly text: string }) {
  const [copied, setCopied] = useState<boolean>();
  useEffect(() => {
    if (copied === undefined) return;
    const timer = setTimeout(() => setCopied(undefined), 2_000);
    return () => clearTimeout(timer);
  }, [copied]);
  const copy = () => {
    // Browsers offer the clipboard to secure pages only.
    const done = navigator.clipboard?.writeText(text) ?? Promise.reject(new Error("no clipboard"));
    done.then(
      () => setCopied(true),
      () => setCopied(false),
    );
  };
  return (
    <button type="button" className="button small" onClick={copy}>
      <span aria-live="polite">{copied === undefined ? "Copy" : copied ? "Copied" : "Not allowed here"}</span>
    </button>
  );
}
