import { expect, test } from "vitest";
import type { EventRow } from "../store/rows";
import { parse } from "./parse";
import { eventOf, preview, textAt } from "./rows";

const row = (body: string): EventRow => ({ kind: "event", seq: 0, source: "t/0/1", time: "", body });

test("fields are read by path, numbers to the digit, and what is absent is absent", () => {
  const event = eventOf(row('{"page":{"path":"/a"},"n":12345678901234567890,"list":[1, 2],"constructor":null}'));
  expect(textAt(event, ["page", "path"], 99)).toBe("/a");
  expect(textAt(event, ["n"], 99)).toBe("12345678901234567890");
  expect(textAt(event, ["list"], 99)).toBe("[1,2]");
  expect(textAt(event, ["constructor"], 99)).toBe("null");
  expect(textAt(event, ["page", "title"], 99)).toBeUndefined();
});

test("what is not an object has no fields", () => {
  for (const body of ["", "null", "[1]", "{broken", '"text"']) expect(preview(eventOf(row(body)), [], 100)).toEqual([]);
});

test("a preview leaves out what has a column of its own, and is bounded", () => {
  const event = parse(`{"a":1,"b":{"c":2},"d":"${"x".repeat(500_000)}","e":1}`);
  const pairs = preview(event ?? { kind: "object", members: [] }, ["a"], 240);
  expect(pairs.map(([name]) => name)).toEqual(["b", "d"]);
  expect(pairs[1]?.[1].length).toBeLessThan(250);
});
