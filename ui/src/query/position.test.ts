import { expect, test } from "vitest";
import { spanOfBytes } from "./position";

test("in plain text bytes and characters agree", () => {
  expect(spanOfBytes("event.tpye", 6, 4)).toEqual({ start: 6, end: 10 });
});

test("characters of several bytes count once, those outside the basic plane twice", () => {
  const text = 'event.é == "😀" && x';
  const bytes = new TextEncoder().encode(text.slice(0, text.indexOf("x"))).length;
  expect(spanOfBytes(text, bytes, 1)).toEqual({ start: text.indexOf("x"), end: text.length });
});

test("an error of no length marks one character", () => {
  expect(spanOfBytes("a +", 0, 0)).toEqual({ start: 0, end: 1 });
});

test("a position at or past the end is the end", () => {
  expect(spanOfBytes("a ==", 4, 1)).toEqual({ start: 4, end: 4 });
  expect(spanOfBytes("a ==", 99, 5)).toEqual({ start: 4, end: 4 });
});
