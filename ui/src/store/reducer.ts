import { toConditions, toFilter } from "../query/form";
import { isTemporary, type Ended, type Progress } from "../stream/status";
import type { RowCounts } from "./rows";
import { isAboutFilter, isActive, noRows, noTotals, type Action, type Rate, type Run, type Sample, type State, type Totals } from "./state";

/** Rates are over the last samples, one a second: long enough to be calm, short enough to be now. */
const sampleCount = 6;
/** Seconds that the chart shows. */
const historyCount = 180;

/** What the page is, after `action`. Pure: time and row counts come with the actions. */
export function reduce(state: State, action: Action): State {
  switch (action.type) {
    case "edited":
      // What is known of the old text stays until the new one is judged: no flicker while typing.
      return { ...state, draft: action.query, conditions: conditionsOf(state, action.query.filter), check: action.query.filter.trim() === "" ? undefined : state.check };
    case "conditions":
      return reduce({ ...state, conditions: action.conditions }, { type: "edited", query: { ...state.draft, filter: toFilter(action.conditions) } });
    case "checked":
      return { ...state, check: action.check };
    case "started":
      return { ...state, run: newRun(action.id, state), rows: noRows, paused: undefined, active: undefined, top: undefined, selected: action.keepSelected ? state.selected : undefined };
    case "stopped":
      return withRun(state, (run) => ({ ...run, phase: "stopped", interrupted: false, ...allShown(state.rows) }), { paused: undefined });
    case "paused":
      return pausedBy(state, action);
    case "resumed":
      return withRun(state, (run) => ({ ...run, ...allShown(state.rows) }), { paused: undefined });
    case "selected":
      return { ...state, selected: action.row };
    case "activated":
      return { ...state, active: action.seq };
    case "viewed":
      return { ...state, view: action.view };
    case "top":
      return { ...state, top: action.top };
    case "dialog":
      return { ...state, dialog: action.dialog };
    case "trial":
      return { ...state, trial: action.trial };
    case "saved":
      return { ...state, saved: action.saved };
    case "standingQueries":
      return { ...state, standingQueries: action.items };
    case "pipeline":
      return { ...state, pipeline: action.pipeline };
    case "eventTypes":
      return { ...state, eventTypes: action.items };
    case "fields":
      return { ...state, fields: action.items };
    case "standing":
      return { ...state, standing: action.query };
    case "connecting": {
      const attempt = state.connection.state === "reconnecting" ? state.connection.lost.attempt : 0;
      return { ...state, connection: { state: "connecting", transport: action.transport, attempt } };
    }
    case "connected":
      return { ...state, connection: { state: "connected", transport: action.transport } };
    case "lost":
      return interrupted({ ...state, connection: { state: "reconnecting", lost: action.lost } });
    case "serverError":
      // The server closes after ERROR; asking for the same again would only bring the same again.
      return ended(state, { status: "ended", reason: "error", message: action.message }, state.rows);
    case "status":
      return withStatus(state, action);
    case "rows":
      return { ...state, rows: action.rows };
  }
}

/** The rows of the form stay as they are, half-written ones too, while they say the same. */
function conditionsOf({ conditions }: State, filter: string): State["conditions"] {
  return conditions !== undefined && toFilter(conditions) === filter.trim() ? conditions : toConditions(filter);
}

function withStatus(state: State, { status, rows, at }: Extract<Action, { type: "status" }>): State {
  switch (status.status) {
    case "registered":
      return withRun(state, (run) => ({ ...run, phase: "registered", held: undefined }));
    case "live":
      return withRun(state, (run) => ({ ...run, phase: "live", interrupted: false, liveSince: status.at, lagRecords: status.lagRecords }));
    case "progress":
      return withRun({ ...state, rows }, (run) => progressed(run, status, { received: rows.received, shown: state.paused?.received ?? rows.received }, at));
    case "expiring":
      return withRun(state, (run) => ({ ...run, expiring: status.at }));
    case "ended":
      // A server that goes away, or cannot do it now, is no end: the query is asked for again.
      if (isTemporary(status)) return withRun(interrupted(state), (run) => ({ ...run, held: status.message }));
      return status.reason === "draining" ? interrupted(state) : ended(state, status, rows);
    case "dropped":
    case "gap":
      return { ...state, rows };
  }
}

function pausedBy(state: State, { cause, rows }: Extract<Action, { type: "paused" }>): State {
  const { paused } = state;
  if (!isActive(state.run)) return state;
  if (paused === undefined) return { ...state, rows, paused: { cause, end: rows.next, received: rows.received } };
  // Whoever scrolls away from an opened row wants to stay there when it is closed.
  return paused.cause === "row" && cause === "scroll" ? { ...state, paused: { ...paused, cause } } : state;
}

function newRun(id: number, state: State): Run {
  return {
    id,
    query: state.draft,
    phase: "starting",
    interrupted: false,
    held: undefined,
    liveSince: undefined,
    before: noTotals,
    current: noTotals,
    received: 0,
    shown: 0,
    samples: [],
    history: [],
    lagRecords: undefined,
    completeTo: undefined,
    expiring: undefined,
    ended: undefined,
  };
}

function progressed(run: Run, progress: Progress, taken: Pick<Run, "received" | "shown">, at: number): Run {
  const current: Totals = {
    scanned: progress.scanned,
    matched: progress.matched,
    leftOutRate: progress.leftOut.rate,
    leftOutSlow: progress.leftOut.slow,
    unreadable: progress.unreadable,
  };
  const sample = { at, scanned: current.scanned, matched: current.matched, shown: taken.shown };
  return {
    ...run,
    current,
    ...taken,
    samples: [...run.samples, sample].slice(-sampleCount),
    history: [...run.history, ...perSecond(run.samples.at(-1), sample)].slice(-historyCount),
    lagRecords: progress.lagRecords,
    completeTo: progress.completeTo ?? run.completeTo,
  };
}

/** Nothing when there is no sample before, or none of this time. */
function perSecond(before: Sample | undefined, now: Sample): readonly Rate[] {
  if (before === undefined || now.at <= before.at) return [];
  const rate = (of: "scanned" | "matched") => Math.max(0, ((now[of] - before[of]) * 1000) / (now.at - before.at));
  return [{ at: now.at, scanned: rate("scanned"), matched: rate("matched") }];
}

/** Keeps what was counted so far: the next subscription of the run counts from nothing again. */
function interrupted(state: State): State {
  if (!isActive(state.run)) return state;
  return withRun(state, (run) => ({
    ...run,
    phase: "starting",
    interrupted: run.interrupted || run.liveSince !== undefined,
    held: undefined,
    before: sum(run.before, run.current),
    current: noTotals,
    samples: [],
    lagRecords: undefined,
    expiring: undefined,
  }));
}

function ended(state: State, end: Ended, rows: RowCounts): State {
  if (!isActive(state.run)) return state;
  const { filter } = state.run.query;
  // A refused start says the same as a check while typing, and is shown in the same place.
  const check: State["check"] = isAboutFilter(end.error, filter) ? { filter: filter.trim(), answer: { kind: "invalid", problem: end.error } } : state.check;
  return withRun({ ...state, rows, check }, (run) => ({ ...run, phase: "ended", interrupted: false, ...allShown(rows), ended: end }), {
    paused: undefined,
  });
}

function allShown({ received }: RowCounts): Pick<Run, "received" | "shown"> {
  return { received, shown: received };
}

function sum(a: Totals, b: Totals): Totals {
  return {
    scanned: a.scanned + b.scanned,
    matched: a.matched + b.matched,
    leftOutRate: a.leftOutRate + b.leftOutRate,
    leftOutSlow: a.leftOutSlow + b.leftOutSlow,
    unreadable: a.unreadable + b.unreadable,
  };
}

function withRun(state: State, change: (run: Run) => Run, also: Partial<State> = {}): State {
  return state.run === undefined ? { ...state, ...also } : { ...state, ...also, run: change(state.run) };
}
