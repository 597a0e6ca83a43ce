import { lazy, Suspense, useId } from "react";
import { formatCount } from "../format";
import { literal } from "../query/form";
import { readFieldPath } from "../json/path";
import { topField } from "../store/select";
import { usePage, useSession } from "./session";

/** Comes when something is first watched; without it the numbers above say the same. */
const Chart = lazy(() => import("./Chart").catch(() => ({ default: () => <div className="chart" /> })));

/** What the matches have in common, and how many there are over time. */
export function Insight() {
  return (
    <details className="insight" open={window.matchMedia("(min-width: 60rem) and (min-height: 40rem)").matches}>
      <summary>Chart and top values</summary>
      <div className="insight-body">
        <Suspense fallback={<div className="chart" />}>
          <Chart />
        </Suspense>
        <TopValues />
      </div>
    </details>
  );
}

function TopValues() {
  const session = useSession();
  const field = usePage(topField);
  const fields = usePage((state) => state.fields);
  const top = usePage((state) => state.top);
  const id = useId();
  const offered = fields.some(({ path }) => path === field) || field === "" ? fields.map(({ path }) => path) : [field, ...fields.map(({ path }) => path)];
  return (
    <section className="top" aria-label="Top values">
      <div className="top-head">
        <label htmlFor={id}>Top values of</label>
        <select id={id} value={field} onChange={(event) => session.look({ top: event.target.value })}>
          <option value="">nothing</option>
          {offered.map((path) => (
            <option key={path} value={path}>
              {path}
            </option>
          ))}
        </select>
        <span className="muted" title="Matches received">
          {top !== undefined && `of ${formatCount(top.counted)}`}
        </span>
      </div>
      {top !== undefined && top.field === field && (
        <ol className="top-list" data-testid="top-values">
          {top.values.map(([value, count]) => (
            <Value key={value} field={field} value={value} count={count} of={top.counted} />
          ))}
          {top.others > 0 && <Plain value="other values" count={top.others} of={top.counted} />}
          {top.absent > 0 && <Plain value="without the field" count={top.absent} of={top.counted} />}
        </ol>
      )}
    </section>
  );
}

interface ValueProps {
  readonly value: string;
  readonly count: number;
  readonly of: number;
}

function Value({ field, value, count, of }: ValueProps & { readonly field: string }) {
  const session = useSession();
  const id = useId();
  // One that was cut, or is no plain value, makes no clause.
  const exact = !value.endsWith("…") && !/^[[{]/.test(value);
  return (
    <li data-value={value}>
      <meter min={0} max={of} value={count} aria-hidden="true" />
      <bdi id={id} className="top-value" title={value}>
        {value === "" ? '""' : value}
      </bdi>
      <span className="muted">{share(count, of)}</span>
      {exact && (
        <button type="button" className="icon" aria-label="Filter for this" title="Filter for this" aria-describedby={id} onClick={() => session.refine(readFieldPath(field), literal(value), false)}>
          +
        </button>
      )}
    </li>
  );
}

function Plain({ value, count, of }: ValueProps) {
  return (
    <li>
      <span />
      <span className="top-value muted">{value}</span>
      <span className="muted">{share(count, of)}</span>
    </li>
  );
}

function share(count: number, of: number): string {
  const percent = (100 * count) / Math.max(1, of);
  return percent > 0 && percent < 1 ? "<1%" : `${Math.round(percent)}%`;
}
