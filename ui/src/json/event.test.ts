import { expect, test } from "vitest";
import type { EventRow } from "../store/rows";
import { eventOf, preview, textAt } from "./event";

const row = (body: string): EventRow => ({ kind: "event", seq: 0, source: "t/0/0", time: "", body });

test("a dotted path reads nested values, and never what objects inherit", () => {
  const event = eventOf(row('{"type":"a","page":{"path":"/x","n":1},"constructor":"mine"}'));
  expect(textAt(event, "page.path")).toBe("/x");
  expect(textAt(event, "page")).toBe('{"path":"/x","n":1}');
  expect(textAt(event, "page.n")).toBe("1");
  expect(textAt(event, "constructor")).toBe("mine");
  expect(textAt(event, "toString")).toBeUndefined();
  expect(textAt(event, "type.length")).toBeUndefined();
});

test("what is not an object has no fields", () => {
  expect(textAt(eventOf(row("[1")), "type")).toBeUndefined();
  expect(textAt(eventOf(row("null")), "type")).toBeUndefined();
});

test("the preview leaves out the columns and is bounded", () => {
  const event = eventOf(row(JSON.stringify({ type: "a", big: "x".repeat(1_000_000), more: 1, most: 2 })));
  expect(preview({ ...event, big: "x" }, ["type"], 100)).toEqual([
    ["big", "x"],
    ["more", "1"],
    ["most", "2"],
  ]);
  expect(preview(event, [], 100).map(([name, text]) => [name, text.length])).toEqual([
    ["type", 1],
    ["big", 100],
  ]);
});
