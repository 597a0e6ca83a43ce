import { expect, test } from "vitest";
import { celPath, fieldPath, readCelPath, readFieldPath, splitPaths } from "./path";

test("fields are named as a filter names them", () => {
  expect(celPath(["page", "path"])).toBe("event.page.path");
  expect(celPath(["items", 0, "user-agent"])).toBe('event.items[0]["user-agent"]');
  expect(celPath(["in", 'a"b'])).toBe('event["in"]["a\\"b"]');
  for (const path of [["a"], ["a", "b-c"], ["in"], ['"]']]) expect(readCelPath(celPath(path))).toEqual(path);
  for (const text of ["event", "event.", "event.a[0]", "eventual.a", "record.topic", 'event["a]']) expect(readCelPath(text), text).toBeUndefined();
});

test("columns are named as the catalogue names fields", () => {
  for (const path of [["a", "b"], ["a.b", "c d"], ["user-agent"]]) expect(readFieldPath(fieldPath(path))).toEqual(path);
  expect(splitPaths("a, `b,c`.d ,,e")).toEqual(["a", "`b,c`.d", "e"]);
  expect(readFieldPath("```")).toEqual([""]);
});
