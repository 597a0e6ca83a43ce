import { expect, test } from "vitest";
import { emptyQuery } from "./query/query";
import { reduce } from "./store/reducer";
import { initialState, noRows, type Action } from "./store/state";
import type { Status } from "./stream/status";
import { noticeWords, situation } from "./words";

const status = (status: Status): Action => ({ type: "status", status, rows: noRows, at: 0 });
const after = (...actions: Action[]) => actions.reduce(reduce, reduce(reduce(initialState, { type: "connected", transport: "websocket" }), { type: "started", id: 1 }));
const live = status({ status: "live", at: "2024-01-01T00:00:00.000Z", partitions: 1, lagRecords: 0 });
const progress = (scanned: number, matched: number, lagRecords = 0) =>
  status({ status: "progress", scanned, matched, delivered: matched, leftOut: { rate: 0, slow: 0 }, unreadable: 0, lagRecords });
const ended = (reason: string) => status({ status: "ended", reason, message: "because" });

test("silence is told apart: nothing arrives, nothing matches, the server is behind", () => {
  expect(situation(after(live)).text).toMatch(/No event has arrived/);
  expect(situation(after(live, progress(213, 0))).text).toMatch(/213 events scanned, none matched yet/);
  expect(situation(after(live, progress(1, 0, 12_000))).text).toMatch(/12,000 events behind/);
  expect(situation(after(live, progress(213, 5))).text).not.toMatch(/none matched/);
});

test("every way to end is said in words of its own", () => {
  const texts = ["expired", "refused", "deleted", "suspended", "slow", "error"].map((reason) => situation(after(live, ended(reason))).text);
  expect(new Set(texts).size).toBe(texts.length);
});

test("a lost connection says whether the server or the network went away", () => {
  const lost = (code: number): Action => ({ type: "lost", lost: { code, reason: "", attempt: 1, delay: 1 } });
  expect(situation(after(live, lost(1012))).text).toMatch(/server is restarting/);
  expect(situation(after(live, lost(1006))).text).toMatch(/connection was lost/);
});

test("left out matches and gaps become rows in words", () => {
  const atRate = (rate: string) => reduce(reduce(initialState, { type: "edited", query: { ...emptyQuery, rate } }), { type: "started", id: 1 });
  expect(noticeWords({ status: "dropped", reason: "rate", count: 1 }, atRate("20"))).toBe(
    "1 match left out here: more matched than the 20 matches per second this query lets through.",
  );
  expect(noticeWords({ status: "dropped", reason: "rate", count: 2 }, atRate(""))).toMatch(/^2 matches left out here: more matched than the 100 matches/);
  expect(noticeWords({ status: "gap", reason: "retention", ranges: [{ topic: "clicks", partition: 3, from: 10, to: 15 }] }, after(live))).toBe(
    "5 events not looked at: Kafka had deleted events before they were read (clicks/3 offsets 10 to 14).",
  );
  expect(noticeWords({ status: "expiring", at: "" }, after(live))).toBeUndefined();
});
