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

test("matches left out since the last progress, and gaps, become rows in words", () => {
  const started = (rate: string) => reduce(reduce(initialState, { type: "edited", query: { ...emptyQuery, rate } }), { type: "started", id: 1 });
  const told = (rate: number, slow: number): Status => ({ status: "progress", scanned: 0, matched: 0, delivered: 0, leftOut: { rate, slow }, unreadable: 0, lagRecords: 0 });
  expect(noticeWords(told(1, 0), started("20"))).toBe("1 match left out here: more matched than the 20 matches per second this query lets through.");
  expect(noticeWords(told(2, 0), started(""))).toMatch(/more matched than the 100 matches per second/);
  expect(noticeWords(told(2, 0), started("0"))).toMatch(/more matched than the server lets through/);
  expect(noticeWords(told(0, 3), started(""))).toBe("3 matches left out here: this page or its network was too slow for them.");
  const later = reduce(started(""), status(told(5, 3)));
  expect(noticeWords(told(5, 3), later)).toBeUndefined();
  expect(noticeWords(told(6, 3), later)).toMatch(/^1 match left out/);
  expect(noticeWords({ status: "gap", reason: "retention", ranges: [{ topic: "clicks", partition: 3, from: 10, to: 15 }] }, later)).toBe(
    "5 events not looked at: Kafka had deleted events before they were read (clicks/3 offsets 10 to 14).",
  );
  expect(noticeWords({ status: "expiring", at: "" }, later)).toBeUndefined();
});
