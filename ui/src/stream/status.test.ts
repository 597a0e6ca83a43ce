import { expect, test } from "vitest";
import { decode } from "./status";

test("an event keeps its text as it came", () => {
  const body = '{"n":123456789012345678901234567890,"n":1.0}';
  expect(decode({ source: "clicks/3/42", time: "2024-01-01T00:00:00.000Z" }, body)).toEqual({
    kind: "event",
    source: "clicks/3/42",
    time: "2024-01-01T00:00:00.000Z",
    body,
  });
});

test("a status is read from its body", () => {
  expect(decode({ status: "dropped" }, '{"status":"dropped","reason":"rate","count":7}')).toEqual({
    kind: "status",
    status: { status: "dropped", reason: "rate", count: 7 },
  });
});

test("a status of a newer server, or one that is broken, is passed over", () => {
  expect(decode({ status: "brightness" }, "{}")).toEqual({ kind: "unknown" });
  expect(decode({ status: "live" }, '{"at":')).toEqual({ kind: "unknown" });
  expect(decode({ status: "live" }, "null")).toEqual({ kind: "unknown" });
});
