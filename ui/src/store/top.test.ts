import { expect, test } from "vitest";
import { RowBuffer } from "./rows";
import { TopCounter } from "./top";

const rows = (bodies: string[]) => {
  const buffer = new RowBuffer();
  for (const body of bodies) buffer.addEvent("t/0/1", "", body);
  return buffer;
};

test("values are counted, the most frequent first, each match once", () => {
  const buffer = rows(['{"a":"x"}', '{"a":"y"}', '{"a":"y"}', "{}", '{"a":5}', '{"a":"5"}', "broken"]);
  const counter = new TopCounter("a");
  expect(counter.take(buffer)).toBe(true);
  expect(counter.take(buffer)).toBe(false);
  expect(counter.values()).toEqual({ field: "a", counted: 7, values: [["y", 2], ["x", 1], ["5", 1], ['"5"', 1]], others: 0, absent: 2 });
});

test("what is beyond the list, and beyond what is told apart, is counted together", () => {
  const counter = new TopCounter("a");
  const buffer = rows(Array.from({ length: 3_000 }, (_, index) => `{"a":"v${index}"}`));
  while (counter.take(buffer));
  const { counted, values, others } = counter.values();
  expect([counted, values.length, others]).toEqual([3_000, 6, 2_994]);
});

test("numbers are told apart by every digit", () => {
  const counter = new TopCounter("n");
  counter.take(rows(['{"n":12345678901234567890}', '{"n":12345678901234567891}']));
  expect(counter.values().values).toHaveLength(2);
});
