import { describe, expect, test } from "vitest";
import { at, compact, oneLine, parse, textOf } from "./parse";

describe("what is read is what was written", () => {
  test("numbers keep every digit, repeated keys all stay, the last counts", () => {
    const json = parse('{"n": 12345678901234567890.10, "n": 1E400, "o": {"n": 3}}');
    expect(compact(json ?? { kind: "literal", text: "" }, 999)).toBe('{"n":12345678901234567890.10,"n":1E400,"o":{"n":3}}');
    expect(at(json, ["n"])).toEqual({ kind: "number", text: "1E400" });
    expect(at(json, ["o", "n"])).toEqual({ kind: "number", text: "3" });
  });

  test("names of JavaScript's own are names", () => {
    const json = parse('{"__proto__":{"x":1},"constructor":2}');
    expect(at(json, ["__proto__", "x"])).toEqual({ kind: "number", text: "1" });
    expect(at(json, ["toString"])).toBeUndefined();
  });

  test("lists are reached by position", () => {
    expect(at(parse('[{"a":[true]}]'), [0, "a", 0])).toEqual({ kind: "literal", text: "true" });
    expect(at(parse("[1]"), [5])).toBeUndefined();
    expect(at(parse('"x"'), ["a"])).toBeUndefined();
  });
});

test("what is not JSON is not read", () => {
  for (const text of ["", "{", "}", "[1,]", '{"a"}', '{"a":}', '{"a":1}}', "1 2", "nul", '"\u0001"', '{"\\x":1}', "[".repeat(1_000) + "]".repeat(1_000)]) {
    expect(parse(text), text.slice(0, 20)).toBeUndefined();
  }
});

test("JSON that is well formed is read, however it is spaced", () => {
  for (const text of [' {"a" : [ ] , "b":{ } }\n', "null", "-0.5e-3", '"\\u00e9\\n"', '"\u2028"']) expect(parse(text), text).toBeDefined();
});

test("a line is bounded, and no escape is torn apart", () => {
  const long = `"${"\\u00e9".repeat(1_000)}"`;
  expect(textOf(long, 20).length).toBeLessThan(20);
  expect(textOf(long, 20)).toMatch(/^é+…$/);
  expect(textOf('"\\\\\\\\\\\\\\\\"', 3)).toMatch(/^\\+…$/);
  const wide = parse(`{${Array.from({ length: 2_000 }, (_, index) => `"field${index}":"${"x".repeat(100)}"`).join(",")}}`);
  expect(wide && oneLine(wide, 200).length).toBeLessThan(400);
});
