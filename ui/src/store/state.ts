import type { CheckAnswer } from "../api/client";
import type { EventType, Field, ListedQuery, Pipeline, Problem } from "../api/types";
import { emptyQuery, type Query } from "../query/query";
import type { Lost } from "../stream/connection";
import type { Transport } from "../stream/retry";
import type { Ended, Status } from "../stream/status";
import type { RowCounts } from "./rows";

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

export interface State {
  readonly connection: ConnectionState;
  readonly pipeline: Pipeline;
  readonly eventTypes: readonly EventType[] | undefined;
  readonly fields: readonly Field[];
  readonly standing: ListedQuery | undefined;
  /** The query in the form. */
  readonly draft: Query;
  readonly check: Check | undefined;
  readonly run: Run | undefined;
  readonly rows: RowCounts;
  readonly paused: Paused | undefined;
  /** Number of the row that the side panel shows. */
  readonly selected: number | undefined;
}

export type Action =
  | { readonly type: "edited"; readonly query: Query }
  | { readonly type: "checked"; readonly check: Check | undefined }
  | { readonly type: "started"; readonly id: number }
  | { readonly type: "stopped" }
  | { readonly type: "paused"; readonly cause: PauseCause; readonly rows: RowCounts }
  | { readonly type: "resumed" }
  | { readonly type: "selected"; readonly seq: number | undefined }
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
  check: undefined,
  run: undefined,
  rows: noRows,
  paused: undefined,
  selected: undefined,
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
