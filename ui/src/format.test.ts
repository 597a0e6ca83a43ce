import { expect, test } from "vitest";
import { formatCount, formatMillis, formatRate, formatTime, plural, visible } from "./format";

test("rates are short, and never say that nothing happens when something does", () => {
  expect([undefined, 0, 0.01, 0.44, 9.96, 203.4, 12_345].map(formatRate)).toEqual(["", "0/s", "<0.1/s", "0.4/s", "10.0/s", "203/s", "12.3K/s"]);
});

test("counts and words agree in number", () => {
  expect([plural(0, "event"), plural(1, "event"), plural(1234, "match", "matches")]).toEqual(["0 events", "1 event", "1,234 matches"]);
  expect(formatCount(1_234_567)).toBe("1,234,567");
});

test("what is no time is shown as it is", () => {
  expect(formatTime("yesterday", "local")).toBe("yesterday");
  expect(formatTime("2024-01-01T00:00:07.000Z", "local")).toMatch(/^\d\d:\d\d:07$/);
  expect(formatMillis("2024-01-01T23:59:07.012Z", "utc")).toBe("23:59:07.012");
});

test("what has no shape of its own, and what turns the writing around, is shown by a sign or its number", () => {
  expect(visible("a\u0000b\n\u007f")).toBe("a␀b␊␡");
  expect(visible("abc\u202ecod.exe\u200b")).toBe("abc⟨U+202E⟩cod.exe⟨U+200B⟩");
  expect(visible("שלום, 😀 é")).toBe("שלום, 😀 é");
});
