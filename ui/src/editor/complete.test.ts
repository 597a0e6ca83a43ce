import { CompletionContext } from "@codemirror/autocomplete";
import { EditorState } from "@codemirror/state";
import { expect, test } from "vitest";
import { completions, type Known } from "./complete";

const known: Known = {
  fields: [
    { path: "type", kinds: ["string"], examples: ['"a"'] },
    { path: "page.path", kinds: ["string"], examples: ['"/x"', '"/y"'] },
    { path: "page.depth", kinds: ["int"], examples: ["3"] },
    { path: "`user-agent`", kinds: ["string"], examples: ['"m"'] },
    { path: "items", kinds: ["list"], examples: [] },
  ],
  eventTypes: [{ name: "cart", perSecond: 1, lastSeen: "" }],
  eventTypeField: "type",
};

function offered(text: string): string[] {
  const state = EditorState.create({ doc: text });
  return completions(new CompletionContext(state, text.length, false), known)?.options.map(({ label }) => label) ?? [];
}

test("fields are offered level by level, and what a field can do after it", () => {
  expect(offered("event.")).toEqual(["type", "page", "items"]);
  expect(offered("has(event.page.")).toEqual(["path", "depth", "contains", "startsWith", "endsWith", "matches"]);
  expect(offered("event.page.depth.")).toEqual([]);
  expect(offered("event.items.")).toContain("exists");
  expect(offered("x && record.")).toContain("offset");
});

test("values are those seen in the field, event types those of the stream", () => {
  expect(offered("event.page.path == ")).toEqual(['"/x"', '"/y"']);
  expect(offered('event.type == "c')).toEqual(['"cart"']);
  expect(offered('event.type in ["cart", "')).toEqual(['"cart"']);
  expect(offered('event["user-agent"] != "')).toEqual(['"m"']);
  expect(offered('event.nothing == "')).toEqual([]);
});

test("elsewhere variables and functions are offered, and within text nothing", () => {
  expect(offered("e")).toContain("event");
  expect(offered("event.type == 'x' && h")).toContain("has");
  expect(offered("")).toEqual([]);
});
