import { useId, useState } from "react";
import { splitPaths } from "../json/path";
import { columnLabel, fieldColumn, moved, recordColumns } from "../query/view";
import { shownColumns } from "../store/select";
import { Dialog } from "./Dialog";
import { usePage, useSession } from "./session";

/** Which columns the list has, and in which order. */
export function Columns() {
  return (
    <Dialog name="columns" title="Columns">
      <Chooser />
    </Dialog>
  );
}

function Chooser() {
  const session = useSession();
  const chosen = usePage(shownColumns);
  const fields = usePage((state) => state.fields);
  const [other, setOther] = useState("");
  const id = useId();
  const offered = [...recordColumns, ...fields.map(({ path }) => fieldColumn(path))].filter((column) => !chosen.includes(column));
  const choose = (columns: readonly string[]) => {
    if (columns.length > 0) session.look({ columns });
  };

  return (
    <>
      <p className="hint">In the list headings can be dragged too, and their edges.</p>
      <ul className="openable" aria-label="Shown columns">
        {chosen.map((column, index) => (
          <li key={column}>
            <label>
              <input type="checkbox" checked disabled={chosen.length === 1} onChange={() => choose(chosen.filter((kept) => kept !== column))} /> {columnLabel(column)}
            </label>
            <span className="column-moves">
              <button type="button" className="icon" aria-label={`Move ${columnLabel(column)} left`} disabled={index === 0} onClick={() => choose(moved(chosen, column, chosen[index - 1] ?? ""))}>
                ↑
              </button>
              <button
                type="button"
                className="icon"
                aria-label={`Move ${columnLabel(column)} right`}
                disabled={index === chosen.length - 1}
                onClick={() => choose(moved(chosen, column, chosen[index + 1] ?? ""))}
              >
                ↓
              </button>
            </span>
          </li>
        ))}
      </ul>
      <ul className="openable scrolled" aria-label="Other columns">
        {offered.map((column) => (
          <li key={column}>
            <label>
              <input type="checkbox" checked={false} onChange={() => choose([...chosen, column])} /> {columnLabel(column)}
            </label>
          </li>
        ))}
      </ul>
      <form
        className="way-buttons"
        onSubmit={(event) => {
          event.preventDefault();
          const added = splitPaths(other).map(fieldColumn);
          choose([...chosen, ...added.filter((column) => !chosen.includes(column))]);
          setOther("");
        }}
      >
        <label htmlFor={id}>Another field</label>
        <input id={id} className="text" placeholder="page.path" spellCheck={false} value={other} onChange={(event) => setOther(event.target.value)} />
        <button type="submit" className="button small">
          Add
        </button>
      </form>
      <button type="button" className="link" onClick={() => session.look({ columns: undefined, widths: {} })}>
        Back to the usual columns
      </button>
    </>
  );
}
