import { useId, useMemo, useRef, useState } from "react";
import type { EventType } from "../api/types";
import { formatRate } from "../format";
import { fitsInList } from "../query/query";
import { hue } from "./hue";
import { usePage, useSession } from "./session";

/** Types offered before "Show all". */
const offered = 24;

/** The types seen in the stream, with their rates; any number of them may be chosen. */
export function EventTypes() {
  const session = useSession();
  const types = usePage((state) => state.eventTypes);
  const chosen = usePage((state) => state.draft.eventTypes);
  const [find, setFind] = useState("");
  const [all, setAll] = useState(false);
  const ordered = useSteadyOrder(types ?? [], chosen);
  const found = ordered.filter(({ name }) => name.toLowerCase().includes(find.trim().toLowerCase()));
  const listed = all || find !== "" ? found : found.filter((type, index) => index < offered || chosen.includes(type.name));

  return (
    <fieldset className="event-types">
      <legend className="label">Event types</legend>
      {ordered.length > offered && (
        <input type="search" className="find" placeholder="Find a type" aria-label="Find a type" value={find} onChange={(event) => setFind(event.target.value)} />
      )}
      <div className="chips">
        {listed.map((type) => (
          <Chip key={type.name} type={type} chosen={chosen.includes(type.name)} onToggle={() => session.toggleEventType(type.name)} />
        ))}
      </div>
      {!all && find === "" && listed.length < found.length && (
        <button type="button" className="link" onClick={() => setAll(true)}>
          Show all {found.length}
        </button>
      )}
      {find !== "" && found.length === 0 && <p className="hint">No type of that name has been seen.</p>}
      {ordered.length === 0 && <p className="hint">{types === undefined ? "Reading what the stream contains…" : "No event has been seen yet. Types appear here when they arrive."}</p>}
    </fieldset>
  );
}

interface ChipProps {
  readonly type: EventType;
  readonly chosen: boolean;
  readonly onToggle: () => void;
}

function Chip({ type, chosen, onToggle }: ChipProps) {
  const id = useId();
  const possible = fitsInList(type.name);
  return (
    <label className="chip" title={possible ? undefined : "A name with a comma can only be asked for with a filter"}>
      <input type="checkbox" checked={chosen} disabled={!possible} onChange={onToggle} aria-labelledby={`${id}name`} aria-describedby={`${id}rate`} />
      <span className={`hue ${hue(type.name)}`} aria-hidden="true" />
      <span id={`${id}name`} className="chip-name">
        {type.name}
      </span>
      <span id={`${id}rate`} className="chip-rate">
        {formatRate(type.perSecond)}
      </span>
    </label>
  );
}

/**
 * The busiest first when the catalogue is first read, newcomers at the end: chips do not jump from under the pointer
 * when rates change. What is chosen is always there, seen or not.
 */
function useSteadyOrder(types: readonly EventType[], chosen: readonly string[]): readonly EventType[] {
  const order = useRef<readonly string[]>([]);
  return useMemo(() => {
    const byName = new Map(types.map((type) => [type.name, type]));
    const known = order.current.filter((name) => byName.has(name));
    const added = types
      .filter(({ name }) => !known.includes(name))
      .sort((a, b) => b.perSecond - a.perSecond || a.name.localeCompare(b.name))
      .map(({ name }) => name);
    order.current = [...known, ...added];
    const unseen = chosen.filter((name) => !byName.has(name)).map((name) => ({ name, perSecond: 0, lastSeen: "" }));
    return [...order.current.flatMap((name) => byName.get(name) ?? []), ...unseen];
  }, [types, chosen]);
}
