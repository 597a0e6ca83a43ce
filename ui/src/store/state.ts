import type { CheckAnswer, ExplainAnswer } from "../api/client";
import type { EventType, Field, ListedQuery, Pipeline, Problem } from "../api/types";
import type { Condition } from "../query/form";
import { emptyQuery, type Query } from "../query/query";
import { usualView, type View } from "../query/view";
import type { Lost } from "../stream/connection";
import type { Transport } from "../stream/retry";
import type { Ended, Status } from "../stream/status";
import type { EventRow, RowCounts } from "./rows";

export type ConnectionState =
  | { readonly state: "connecting"; readonly transport: Transport; readonly attempt: number }
  | { readonly state: "connected"; readonly transport: Transport }
  | { readonly state: "reconnecting"; readonly lost: Lost };

/** Counts as the server states them. */
export interface Totals {
  readonly scanned: number;
  readonly matched: number;
  readonly leftOutRate: number;
  readonly leftOutSlow: number;
  readonly unreadable: number;
}

/** The counters at one moment; a few of them give the rates. */
export interface Sample {
  /** Milliseconds of a clock that only goes forward. */
  readonly at: number;
  readonly scanned: number;
  readonly matched: number;
  readonly shown: number;
}

/** What happened in a second, for the chart. */
export interface Rate {
  /** Milliseconds of a clock that only goes forward. */
  readonly at: number;
  readonly scanned: number;
  readonly matched: number;
}

/**
 * `starting`: asked, or to be asked once the connection is there. `registered`: the server has it, not yet every
 * worker. `live`: from here on nothing is missed. `stopped` by the viewer, `ended` by the server.
 */
export type Phase = "starting" | "registered" | "live" | "stopped" | "ended";

/** One query being watched, from Start to Stop, over all reconnects. */
export interface Run {
  readonly id: number;
  readonly query: Query;
  readonly phase: Phase;
  /** A connection was lost in this run and the query is being asked for again. */
  readonly interrupted: boolean;
  /** Why the server cannot take the query for now, in its words; it is asked again. */
  readonly held: string | undefined;
  readonly liveSince: string | undefined;
  /** Of the subscriptions before the last reconnect; the server counts each from its own start. */
  readonly before: Totals;
  readonly current: Totals;
  /** Events received when the counters were last taken. */
  readonly received: number;
  /** Of these, shown. */
  readonly shown: number;
  readonly samples: readonly Sample[];
  /** The last minutes, a second each. */
  readonly history: readonly Rate[];
  readonly lagRecords: number | undefined;
  readonly completeTo: string | undefined;
  readonly expiring: string | undefined;
  readonly ended: Ended | undefined;
}

/** Why the list stands still. `scroll` and `row` end by themselves when their cause does. */
export type PauseCause = "button" | "scroll" | "row";

export interface Paused {
  readonly cause: PauseCause;
  /** Rows from this number on wait. */
  readonly end: number;
  /** Events received up to then. */
  readonly received: number;
}

/** What is known of a filter's text. */
export interface Check {
  readonly filter: string;
  readonly answer: CheckAnswer;
}

/** How often the values of one field came, over the matches received. */
export interface TopValues {
  readonly field: string;
  /** Matches looked at. */
  readonly counted: number;
  /** Value as it is shown, and how often it came; the most frequent first. */
  readonly values: readonly (readonly [string, number])[];
  /** Matches with another value than those. */
  readonly others: number;
  /** Matches without the field. */
  readonly absent: number;
}

/** A sample of everything, held against the filter before it is started. */
export interface Trial {
  readonly id: number;
  readonly filter: string;
  readonly phase: "starting" | "running" | "done" | "failed";
  /** Why it failed. */
  readonly message: string;
  /** Events that passed by meanwhile; the sample is a part of them. */
  readonly scanned: number;
  readonly events: readonly Tried[];
}

export interface Tried {
  readonly row: EventRow;
  readonly answer: ExplainAnswer | undefined;
}

/** A view that the viewer keeps in this browser. */
export interface SavedView {
  readonly name: string;
  /** Of the page's URL. */
  readonly search: string;
}

export type DialogName = "try" | "keep" | "saved" | "columns" | "help";

export interface State {
  readonly connection: ConnectionState;
  readonly pipeline: Pipeline;
  readonly eventTypes: readonly EventType[] | undefined;
  readonly fields: readonly Field[];
  readonly standing: ListedQuery | undefined;
  /** The query in the form. */
  readonly draft: Query;
  /** The same filter as rows of the form; `undefined` when the form cannot say it. */
  readonly conditions: readonly Condition[] | undefined;
  readonly check: Check | undefined;
  readonly run: Run | undefined;
  readonly rows: RowCounts;
  readonly paused: Paused | undefined;
  /** The event in the side panel; it stays readable when its row has left the list. */
  readonly selected: EventRow | undefined;
  /** Number of the row that the keyboard is at. */
  readonly active: number | undefined;
  readonly view: View;
  readonly top: TopValues | undefined;
  readonly dialog: DialogName | undefined;
  readonly trial: Trial | undefined;
  readonly saved: readonly SavedView[];
  /** Standing queries; `undefined` until they are read. */
  readonly standingQueries: readonly ListedQuery[] | undefined;
}

export type Action =
  | { readonly type: "edited"; readonly query: Query }
  | { readonly type: "conditions"; readonly conditions: readonly Condition[] }
  | { readonly type: "checked"; readonly check: Check | undefined }
  | { readonly type: "started"; readonly id: number; readonly keepSelected?: boolean }
  | { readonly type: "stopped" }
  | { readonly type: "paused"; readonly cause: PauseCause; readonly rows: RowCounts }
  | { readonly type: "resumed" }
  | { readonly type: "selected"; readonly row: EventRow | undefined }
  | { readonly type: "activated"; readonly seq: number | undefined }
  | { readonly type: "viewed"; readonly view: View }
  | { readonly type: "top"; readonly top: TopValues | undefined }
  | { readonly type: "dialog"; readonly dialog: DialogName | undefined }
  | { readonly type: "trial"; readonly trial: Trial | undefined }
  | { readonly type: "saved"; readonly saved: readonly SavedView[] }
  | { readonly type: "standingQueries"; readonly items: readonly ListedQuery[] }
  | { readonly type: "pipeline"; readonly pipeline: Pipeline }
  | { readonly type: "eventTypes"; readonly items: readonly EventType[] }
  | { readonly type: "fields"; readonly items: readonly Field[] }
  | { readonly type: "standing"; readonly query: ListedQuery | undefined }
  | { readonly type: "connecting"; readonly transport: Transport }
  | { readonly type: "connected"; readonly transport: Transport }
  | { readonly type: "lost"; readonly lost: Lost }
  | { readonly type: "serverError"; readonly message: string }
  | { readonly type: "status"; readonly status: Status; readonly rows: RowCounts; readonly at: number }
  | { readonly type: "rows"; readonly rows: RowCounts };

export const noTotals: Totals = { scanned: 0, matched: 0, leftOutRate: 0, leftOutSlow: 0, unreadable: 0 };

export const noRows: RowCounts = { first: 0, next: 0, received: 0, removed: 0 };

export const initialState: State = {
  connection: { state: "connecting", transport: "websocket", attempt: 0 },
  pipeline: { pipeline: "", eventTypeField: "type", userField: "user_id", defaultRate: 100 },
  eventTypes: undefined,
  fields: [],
  standing: undefined,
  draft: emptyQuery,
  conditions: [],
  check: undefined,
  run: undefined,
  rows: noRows,
  paused: undefined,
  selected: undefined,
  active: undefined,
  view: usualView,
  top: undefined,
  dialog: undefined,
  trial: undefined,
  saved: [],
  standingQueries: undefined,
};

/** Whether the viewer wants events of this run: it is asked for again after a lost connection. */
export function isActive(run: Run | undefined): run is Run {
  return run !== undefined && run.phase !== "stopped" && run.phase !== "ended";
}

/** Whether a refusal marks a place in this filter, and not in another part of the request. */
export function isAboutFilter(problem: Problem | undefined, filter: string): problem is Problem {
  const [line] = problem?.caret?.split("\n") ?? [];
  return problem?.offset != null && line !== undefined && filter.includes(line.trim());
}

/** The filter's problem, from typing or from a refused start; only as long as it is about the text in the form. */
export function filterProblem(state: State): Problem | undefined {
  return state.check?.answer.kind === "invalid" ? state.check.answer.problem : undefined;
}
