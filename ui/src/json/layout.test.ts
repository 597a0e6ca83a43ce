import { expect, test } from "vitest";
import { layout } from "./layout";

const plain = (text: string) =>
  layout(text, 1000)
    ?.lines.map(({ depth, tokens }) => "  ".repeat(depth) + tokens.map((token) => token.text).join(""))
    .join("\n");

test("agrees with JSON.stringify on ordinary values", () => {
  const value = { a: 1, b: [true, null, "x,y:{}"], c: {}, d: [], e: { f: [{ g: -1.5e-7 }] }, "": 'quo"te\\' };
  expect(plain(JSON.stringify(value))).toBe(JSON.stringify(value, null, 2));
  expect(plain(JSON.stringify(value, null, 7))).toBe(JSON.stringify(value, null, 2));
});

test("numbers keep every digit and repeated keys all show", () => {
  expect(plain('{"n":123456789012345678901234567890,"n":1.0}')).toBe('{\n  "n": 123456789012345678901234567890,\n  "n": 1.0\n}');
});

test("keys and strings are told apart", () => {
  expect(layout('{"a" : "b"}', 10)?.lines[1]?.tokens.map(({ kind }) => kind)).toEqual(["key", "punctuation", "string"]);
});

test("what is not JSON has no layout", () => {
  for (const text of ["{", '{"a":', "]", "hello", '"open', "{]}"]) {
    expect(layout(text, 10), text).toBeUndefined();
  }
});

test("lines are bounded", () => {
  const cut = layout(JSON.stringify(Array.from({ length: 100 }, (_, index) => index)), 10);
  expect(cut?.lines).toHaveLength(10);
  expect(cut?.cut).toBe(true);
});

test("a long string and a deep nest are no trouble", () => {
  expect(layout(`{"a":"${"\\n".repeat(400_000)}"}`, 10)?.lines).toHaveLength(3);
  expect(layout("[".repeat(9_000) + "1" + "]".repeat(9_000), 100_000)?.lines).toHaveLength(18_001);
});
