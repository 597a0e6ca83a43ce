import { FrameImpl, Parser } from "@stomp/stompjs";
import { expect, test } from "vitest";
import { plainMessage } from "./frames";

const plain = 'MESSAGE\nsubscription:s1\nsource:t/0/7\ntime:2026-01-01T00\\c00\\c00Z\ncontent-length:13\n\n{"a":"b: ü"}\0';

test.each([
  ["an event", plain],
  ["a body with empty lines", "MESSAGE\nsubscription:s1\n\n\n\n{}\0"],
  ["an empty body", "MESSAGE\nsubscription:s1\n\n\0"],
  ["a header twice", "MESSAGE\nsubscription:s1\nsubscription:s2\n\n{}\0"],
  ["escapes", "MESSAGE\nsubscription:s1\nnote:a\\nb\\r\\c\n\n{}\0"],
  ["a header with a colon, and one without a value", "MESSAGE\nsubscription:a:b\nempty:\n\n{}\0"],
])("%s is read as @stomp/stompjs reads it", (_, text) => {
  const frames: FrameImpl[] = [];
  new Parser((raw) => frames.push(FrameImpl.fromRawFrame(raw, true)), () => undefined).parseChunk(text);
  expect(frames).toHaveLength(1);
  expect(plainMessage(text)).toEqual({ headers: frames[0]?.headers, body: frames[0]?.body });
});

test.each([
  ["another frame", "ERROR\nmessage:no\n\n\0"],
  ["a heart-beat", "\n"],
  ["bytes", new ArrayBuffer(3)],
  ["lines of Windows", "MESSAGE\r\nsubscription:s1\r\n\r\n{}\0"],
  ["two frames at once", plain + plain],
  ["a frame and a heart-beat", `${plain}\n`],
  ["half a frame", plain.slice(0, -4)],
  ["half of its headers", plain.slice(0, 20)],
  ["NUL in the body", "MESSAGE\nsubscription:s1\ncontent-length:3\n\na\0b\0"],
  ["a line without a colon", "MESSAGE\nsubscription\n\n{}\0"],
])("%s is left to it", (_, text) => {
  expect(plainMessage(text)).toBeUndefined();
});
