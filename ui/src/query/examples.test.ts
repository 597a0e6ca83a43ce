import { expect, test } from "vitest";
import type { EventType, Field } from "../api/types";
import { examples } from "./examples";

const type = (name: string, perSecond: number): EventType => ({ name, perSecond, lastSeen: "2024-01-01T00:00:00.000Z" });
const field = (path: string, examples: string[]): Field => ({ path, kinds: ["string"], examples });

test("an empty catalogue offers nothing", () => {
  expect(examples([], [], "type")).toEqual([]);
});

test("one type, one field with few values, and both", () => {
  const fields = [field("type", ['"a"', '"b"']), field("user_id", [1, 2, 3, 4, 5, 6, 7].map((n) => `"u${n}"`)), field("platform", ['"mobile"', '"desktop"'])];
  expect(examples([type("purchase", 3)], fields, "type").map(({ filter }) => filter)).toEqual([
    'event.type == "purchase"',
    'event.platform == "mobile"',
    'event.type == "purchase" && event.platform == "mobile"',
  ]);
});

test("names that CEL cannot select are passed over and values are quoted", () => {
  const offered = examples([type('say "hi"', 1)], [field("page-path", ['"a"', '"b"'])], "kind");
  expect(offered.map(({ filter }) => filter)).toEqual(['event.kind == "say \\"hi\\""']);
});
