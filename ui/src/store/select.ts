import { fieldColumn } from "../query/view";
import { isActive, type Run, type Sample, type State } from "./state";

/** The counters that are always in sight. Rates are per second, undefined until two samples exist. */
export interface Counters {
  readonly scanned: number;
  readonly matched: number;
  /** As the server stated it last. */
  readonly statedMatched: number;
  readonly shown: number;
  readonly leftOut: number;
  readonly leftOutRate: number;
  readonly leftOutSlow: number;
  readonly unreadable: number;
  readonly scannedPerSecond: number | undefined;
  readonly matchedPerSecond: number | undefined;
  readonly shownPerSecond: number | undefined;
  readonly lagRecords: number | undefined;
  readonly completeTo: string | undefined;
}

export function counters(run: Run): Counters {
  const leftOutRate = run.before.leftOutRate + run.current.leftOutRate;
  const leftOutSlow = run.before.leftOutSlow + run.current.leftOutSlow;
  // The server states its counts once a second, about a moment before; what is here or was left out since has been
  // scanned and has matched as well.
  const statedMatched = run.before.matched + run.current.matched;
  const matched = Math.max(statedMatched, run.received + leftOutRate + leftOutSlow);
  return {
    scanned: Math.max(run.before.scanned + run.current.scanned, matched),
    matched,
    statedMatched,
    shown: run.shown,
    leftOut: leftOutRate + leftOutSlow,
    leftOutRate,
    leftOutSlow,
    unreadable: run.before.unreadable + run.current.unreadable,
    scannedPerSecond: rate(run, "scanned"),
    matchedPerSecond: rate(run, "matched"),
    shownPerSecond: rate(run, "shown"),
    lagRecords: run.lagRecords,
    completeTo: run.completeTo,
  };
}

function rate(run: Run, of: Exclude<keyof Sample, "at">): number | undefined {
  const oldest = run.samples[0];
  const newest = run.samples.at(-1);
  // A run that stands still has no rate: an old one would look like a present one.
  if (oldest === undefined || newest === undefined || newest.at <= oldest.at || !isActive(run)) return undefined;
  return Math.max(0, ((newest[of] - oldest[of]) * 1000) / (newest.at - oldest.at));
}

/** The columns of the list: those that the viewer chose, or the usual ones of this pipeline. */
export function shownColumns({ view, pipeline }: State): readonly string[] {
  return view.columns ?? usualColumns(pipeline.eventTypeField, pipeline.userField);
}

const usualColumns = remembering((type: string, user: string) => ["record.timestamp", fieldColumn(type), fieldColumn(user), "event"]);

/** The field whose values are counted; empty = none. */
export function topField({ view, pipeline }: State): string {
  return view.top ?? pipeline.eventTypeField;
}

/** The same arguments as before give the same list as before. */
function remembering<T>(make: (a: string, b: string) => T): (a: string, b: string) => T {
  let last: readonly [string, string, T] | undefined;
  return (a, b) => {
    if (last?.[0] !== a || last[1] !== b) last = [a, b, make(a, b)];
    return last[2];
  };
}

/** Rows `[first, end)` are in the list; those from `end` on wait. */
export function shownRows(state: State): { readonly first: number; readonly end: number } {
  const end = state.paused?.end ?? state.rows.next;
  return { first: Math.min(state.rows.first, end), end };
}

/** Events that wait for Resume. */
export function waiting(state: State): number {
  return state.paused === undefined ? 0 : state.rows.received - state.paused.received;
}
