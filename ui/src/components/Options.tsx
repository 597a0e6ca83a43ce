import { useId } from "react";
import { usePage, useSession } from "./session";

const rates = [
  ["10", "10 a second"],
  ["500", "500 a second"],
  ["0", "no limit"],
] as const;

/** What most viewers leave alone: how many matches to send, and which of their fields. */
export function Options() {
  const session = useSession();
  const rate = usePage((state) => state.draft.rate);
  const fields = usePage((state) => state.draft.fields);
  const defaultRate = usePage((state) => state.pipeline.defaultRate);
  const id = useId();
  const edit = (change: { rate: string } | { fields: string }) => session.edit({ ...session.store.state.draft, ...change });

  return (
    <details className="options" open={rate !== "" || fields !== "" ? true : undefined}>
      <summary>More options</summary>
      <div className="option">
        <label htmlFor={`${id}rate`}>Matches shown at most</label>
        <select id={`${id}rate`} value={rate} onChange={(event) => edit({ rate: event.target.value })}>
          <option value="">{defaultRate} a second (the default)</option>
          {rates.map(([value, words]) => (
            <option key={value} value={value}>
              {words}
            </option>
          ))}
          {rate !== "" && !rates.some(([value]) => value === rate) && <option value={rate}>{rate} a second</option>}
        </select>
      </div>
      <div className="option">
        <label htmlFor={`${id}fields`}>Only these fields</label>
        <input
          id={`${id}fields`}
          value={fields}
          placeholder="type,user_id,page.path"
          spellCheck={false}
          autoCapitalize="off"
          autoComplete="off"
          onChange={(event) => edit({ fields: event.target.value })}
        />
      </div>
    </details>
  );
}
