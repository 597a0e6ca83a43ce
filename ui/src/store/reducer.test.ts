import { describe, expect, test } from "vitest";
import { emptyQuery } from "../query/query";
import type { Status } from "../stream/status";
import { reduce } from "./reducer";
import type { RowCounts } from "./rows";
import { counters, shownRows, waiting } from "./select";
import { filterProblem, initialState, isActive, noRows, type Action, type State } from "./state";

const rows = (received: number): RowCounts => ({ ...noRows, next: received, received });
const status = (status: Status, received = 0, at = 0): Action => ({ type: "status", status, rows: rows(received), at });
const progress = (scanned: number, matched: number, rate = 0): Status => ({
  status: "progress",
  scanned,
  matched,
  delivered: matched - rate,
  leftOut: { rate, slow: 0 },
  unreadable: 0,
  completeTo: "2024-01-01T00:00:00.000Z",
  lagRecords: 3,
});
const problem = { type: "", title: "", status: 422, detail: "" };
const live: Status = { status: "live", at: "2024-01-01T00:00:00.000Z", partitions: 8, lagRecords: 0 };
const lost: Action = { type: "lost", lost: { code: 1006, reason: "", attempt: 1, delay: 500 } };
const run = (actions: Action[], from: State = initialState) => actions.reduce(reduce, from);
const started = run([
  { type: "edited", query: { ...emptyQuery, filter: "x" } },
  { type: "started", id: 1 },
]);

describe("counters", () => {
  test("are the server's totals, with rates from the samples", () => {
    const state = run([status(live), status(progress(100, 10), 10, 1000), status(progress(500, 30, 5), 25, 3000)], started);
    expect(state.run && counters(state.run)).toEqual({
      scanned: 500,
      matched: 30,
      statedMatched: 30,
      shown: 25,
      leftOut: 5,
      leftOutRate: 5,
      leftOutSlow: 0,
      unreadable: 0,
      scannedPerSecond: 200,
      matchedPerSecond: 10,
      shownPerSecond: 7.5,
      lagRecords: 3,
      completeTo: "2024-01-01T00:00:00.000Z",
    });
  });

  test("go on across a reconnect, though the server counts from nothing again", () => {
    const state = run([status(live), status(progress(100, 10, 2), 8), lost, status(live), status(progress(50, 5), 13)], started);
    expect(state.run && counters(state.run)).toMatchObject({ scanned: 150, matched: 15, leftOut: 2, shown: 13 });
  });

  test("never say that less matched than is here", () => {
    const state = run([status(live), status(progress(2, 1, 4), 3)], started);
    expect(state.run && counters(state.run)).toMatchObject({ scanned: 7, matched: 7, shown: 3, leftOut: 4 });
    const paused = run([{ type: "paused", cause: "button", rows: rows(3) }, status(progress(20, 10, 4), 8)], state);
    expect(paused.run && counters(paused.run)).toMatchObject({ scanned: 20, matched: 12, shown: 3, leftOut: 4 });
  });

  test("of a run that stands still have no rates", () => {
    const state = run([status(live), status(progress(1, 1), 1, 0), status(progress(2, 2), 2, 1000), { type: "stopped" }], started);
    expect(state.run && counters(state.run).scannedPerSecond).toBeUndefined();
  });

  test("rates look at the last seconds only", () => {
    const samples = Array.from({ length: 20 }, (_, second) => status(progress(second < 10 ? 0 : (second - 10) * 100, 0), 0, second * 1000));
    const state = run([status(live), ...samples], started);
    expect(state.run && counters(state.run).scannedPerSecond).toBe(100);
  });
});

describe("pause", () => {
  const paused = run([status(live), { type: "rows", rows: rows(10) }, { type: "paused", cause: "button", rows: rows(12) }], started);

  test("keeps the list where it is while rows come in, and says how many wait", () => {
    const later = run([{ type: "rows", rows: rows(40) }], paused);
    expect(shownRows(later)).toEqual({ first: 0, end: 12 });
    expect(waiting(later)).toBe(28);
  });

  test("does not count waiting events as shown", () => {
    const later = run([status(progress(100, 40), 40)], paused);
    expect(later.run && counters(later.run).shown).toBe(12);
  });

  test("resuming shows all of them", () => {
    const later = run([{ type: "rows", rows: rows(40) }, { type: "resumed" }], paused);
    expect(shownRows(later)).toEqual({ first: 0, end: 40 });
    expect(waiting(later)).toBe(0);
    expect(later.run && counters(later.run).shown).toBe(40);
  });

  test("a second cause changes nothing", () => {
    expect(run([{ type: "paused", cause: "scroll", rows: rows(20) }], paused).paused).toEqual({ cause: "button", end: 12, received: 12 });
  });

  test("reading a row becomes scrolling, and stays where it is", () => {
    const reading = run([status(live), { type: "paused", cause: "row", rows: rows(5) }], started);
    expect(run([{ type: "paused", cause: "scroll", rows: rows(20) }], reading).paused).toEqual({ cause: "scroll", end: 5, received: 5 });
  });

  test("rows that left while paused are not shown", () => {
    const later = run([{ type: "rows", rows: { first: 50, next: 100, received: 100, removed: 50 } }], paused);
    expect(shownRows(later)).toEqual({ first: 12, end: 12 });
  });

  test("is over when the run is", () => {
    expect(run([{ type: "stopped" }], paused).paused).toBeUndefined();
    expect(run([{ type: "started", id: 2 }], paused)).toMatchObject({ paused: undefined, rows: noRows });
  });

  test("there is none without a run", () => {
    expect(run([{ type: "paused", cause: "button", rows: noRows }]).paused).toBeUndefined();
  });
});

describe("the end", () => {
  const refused: Status = {
    status: "ended",
    reason: "refused",
    message: "unknown variable `x`",
    error: { ...problem, offset: 0, length: 1, caret: "x\n^" },
  };

  test("a refused filter is shown where a check would show it", () => {
    const state = run([status(refused)], started);
    expect(state.run?.phase).toBe("ended");
    expect(filterProblem(state)?.caret).toBe("x\n^");
    expect(state.check?.filter).toBe("x");
  });

  test("a refusal of another part of the query is not the filter's", () => {
    const fields: Status = { ...refused, error: { ...problem, offset: 2, length: 1, caret: "a,,b\n  ^" } };
    expect(filterProblem(run([status(fields)], started))).toBeUndefined();
  });

  test("an ended query is not asked for again after a lost connection", () => {
    const state = run([status(live), status({ status: "ended", reason: "expired", message: "" }), lost], started);
    expect(state.run?.phase).toBe("ended");
    expect(isActive(state.run)).toBe(false);
  });

  test("a server that goes away is not an end", () => {
    const state = run([status(live), status({ status: "ended", reason: "draining", message: "" }), lost], started);
    expect(isActive(state.run)).toBe(true);
    expect(state.run?.interrupted).toBe(true);
  });

  test("a server that cannot take the query now is no end", () => {
    const unavailable: Status = { status: "ended", reason: "refused", message: "no database", error: { ...problem, status: 503 } };
    const state = run([status(unavailable)], started);
    expect(isActive(state.run)).toBe(true);
    expect(state.run).toMatchObject({ phase: "starting", held: "no database" });
    const registered: Status = { status: "registered", query: "", filter: "", class: "", expires: "" };
    expect(run([status(registered)], state).run).toMatchObject({ phase: "registered", held: undefined });
  });

  test("an ERROR of the server ends the run", () => {
    const state = run([status(live), { type: "serverError", message: "no such destination" }, lost], started);
    expect(state.run?.ended?.message).toBe("no such destination");
    expect(isActive(state.run)).toBe(false);
  });
});

test("a lost connection before `live` is no interruption", () => {
  expect(run([lost], started).run?.interrupted).toBe(false);
});

test("clearing the filter clears its error", () => {
  const checked: Action = { type: "checked", check: { filter: "x", answer: { kind: "invalid", problem } } };
  const state = run([checked, { type: "edited", query: emptyQuery }], started);
  expect(filterProblem(state)).toBeUndefined();
});
