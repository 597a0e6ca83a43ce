import { expect, test } from "vitest";
import { RowBuffer } from "./rows";

const bodies = (rows: RowBuffer) => {
  const { first, next } = rows.counts();
  return Array.from({ length: next - first }, (_, index) => {
    const row = rows.get(first + index);
    return row?.kind === "event" ? row.body : row?.text;
  });
};

test("rows keep their numbers and order", () => {
  const rows = new RowBuffer();
  rows.addEvent("t/0/0", "", "a");
  rows.addNotice("", "warning", "gap");
  rows.addEvent("t/0/1", "", "b");
  expect(bodies(rows)).toEqual(["a", "gap", "b"]);
  expect(rows.counts()).toEqual({ first: 0, next: 3, received: 2, removed: 0 });
});

test("at the bound the oldest leave and are counted, notices not among them", () => {
  const rows = new RowBuffer(3);
  rows.addNotice("", "info", "n");
  for (const body of ["a", "b", "c", "d"]) rows.addEvent("", "", body);
  expect(bodies(rows)).toEqual(["b", "c", "d"]);
  expect(rows.counts()).toEqual({ first: 2, next: 5, received: 4, removed: 1 });
  expect(rows.get(1)).toBeUndefined();
  expect(rows.get(5)).toBeUndefined();
});

test("received = kept + removed over many turns of the ring", () => {
  const rows = new RowBuffer(7);
  for (let index = 0; index < 100; index += 1) rows.addEvent("", "", String(index));
  expect(bodies(rows)).toEqual(["93", "94", "95", "96", "97", "98", "99"]);
  expect(rows.counts()).toMatchObject({ received: 100, removed: 93 });
});

test("huge events leave early, but the newest stays", () => {
  const rows = new RowBuffer(100, 10);
  rows.addEvent("", "", "aaaa");
  rows.addEvent("", "", "bbbb");
  rows.addEvent("", "", "cccc");
  expect(bodies(rows)).toEqual(["bbbb", "cccc"]);
  rows.addEvent("", "", "d".repeat(50));
  expect(bodies(rows)).toEqual(["d".repeat(50)]);
  rows.addEvent("", "", "e");
  expect(bodies(rows)).toEqual(["e"]);
  expect(rows.counts().removed).toBe(4);
});

test("clearing starts the numbers anew", () => {
  const rows = new RowBuffer();
  rows.addEvent("", "", "a");
  rows.clear();
  expect(rows.counts()).toEqual({ first: 0, next: 0, received: 0, removed: 0 });
  expect(rows.get(0)).toBeUndefined();
});
