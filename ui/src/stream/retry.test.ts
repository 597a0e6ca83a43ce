import { expect, test } from "vitest";
import { nextTransport, retryDelay } from "./retry";

test("waiting doubles, has a ceiling, and half of it is chance", () => {
  expect([1, 2, 3, 30].map((attempt) => retryDelay(attempt, 1))).toEqual([500, 1000, 2000, 15_000]);
  expect([1, 2, 3, 30].map((attempt) => retryDelay(attempt, 0))).toEqual([250, 500, 1000, 7_500]);
});

test("before anything has connected the transports take turns", () => {
  expect([0, 1, 2, 3].map((failures) => nextTransport(failures, undefined, false))).toEqual(["websocket", "sockjs", "websocket", "sockjs"]);
});

test("what has connected is tried again first", () => {
  expect([0, 1, 2, 3].map((failures) => nextTransport(failures, "sockjs", false))).toEqual(["sockjs", "sockjs", "websocket", "sockjs"]);
});

test("SockJS alone when it was asked for", () => {
  expect([0, 1].map((failures) => nextTransport(failures, "websocket", true))).toEqual(["sockjs", "sockjs"]);
});
