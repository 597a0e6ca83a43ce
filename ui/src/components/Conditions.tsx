import { useId, useMemo } from "react";
import type { Field } from "../api/types";
import { operators, typed, type Condition, type Operator } from "../query/form";
import { usePage, useSession } from "./session";

const empty: Condition = { field: "", operator: "is", value: "" };

/** The filter as rows of field, comparison and value; names and values are offered as the stream has them. */
export function Conditions() {
  const session = useSession();
  const conditions = usePage((state) => state.conditions);
  const fields = usePage((state) => state.fields);
  const id = useId();

  if (conditions === undefined) {
    return (
      <p className="hint" data-testid="not-in-form">
        This filter says more than rows can show. It is used as it is written below.
      </p>
    );
  }
  // One row to begin with is there without asking.
  const rows = conditions.length === 0 ? [empty] : conditions;
  const change = (index: number, row: Condition) => session.editConditions(rows.map((old, at) => (at === index ? row : old)));

  return (
    <fieldset className="conditions">
      <legend className="label">Where</legend>
      <datalist id={`${id}fields`}>
        {fields.map(({ path, kinds }) => (
          <option key={path} value={path}>
            {kinds.join(", ")}
          </option>
        ))}
      </datalist>
      {rows.map((row, index) => (
        <Row
          // Rows have no other identity than their place.
          key={index}
          number={index + 1}
          row={row}
          fieldsList={`${id}fields`}
          field={fields.find(({ path }) => path === row.field.trim())}
          onChange={(changed) => change(index, changed)}
          onRemove={() => session.editConditions(rows.filter((_, at) => at !== index))}
        />
      ))}
      <button type="button" className="link" onClick={() => session.editConditions([...rows, empty])}>
        Add a condition
      </button>
    </fieldset>
  );
}

interface RowProps {
  readonly number: number;
  readonly row: Condition;
  readonly fieldsList: string;
  readonly field: Field | undefined;
  readonly onChange: (row: Condition) => void;
  readonly onRemove: () => void;
}

function Row({ number, row, fieldsList, field, onChange, onRemove }: RowProps) {
  const id = useId();
  const values = useMemo(() => field?.examples.flatMap(asTyped) ?? [], [field]);
  return (
    <div className="condition">
      <input
        className="condition-field"
        aria-label={`Field ${number}`}
        placeholder="field"
        list={fieldsList}
        spellCheck={false}
        autoCapitalize="off"
        autoComplete="off"
        value={row.field}
        onChange={(event) => onChange({ ...row, field: event.target.value })}
      />
      <select aria-label={`Comparison ${number}`} value={row.operator} onChange={(event) => onChange({ ...row, operator: event.target.value as Operator })}>
        {operators.map(([operator, words]) => (
          <option key={operator} value={operator}>
            {words}
          </option>
        ))}
      </select>
      {row.operator !== "exists" && (
        <input
          className="condition-value"
          aria-label={`Value ${number}`}
          placeholder="value"
          list={`${id}values`}
          spellCheck={false}
          autoCapitalize="off"
          autoComplete="off"
          value={row.value}
          onChange={(event) => onChange({ ...row, value: event.target.value })}
        />
      )}
      <datalist id={`${id}values`}>
        {values.map((value) => (
          <option key={value} value={value} />
        ))}
      </datalist>
      <button type="button" className="icon" aria-label={`Remove condition ${number}`} title="Remove" onClick={onRemove}>
        ×
      </button>
    </div>
  );
}

/** Examples are JSON; one that was cut is none, and can be no value. */
function asTyped(json: string): string[] {
  try {
    return [typed(json)];
  } catch {
    return [];
  }
}
