import { expect, test } from "vitest";
import { toCsv, toNdjson } from "./export";
import type { EventRow } from "./store/rows";

const row = (body: string): EventRow => ({ kind: "event", seq: 0, source: "clicks/3/42", time: "2024-01-01T00:00:00.000Z", body });

test("NDJSON has one line per event, every byte of its values as it came", () => {
  expect(toNdjson([row('{"n":1.50,\r\n "n":12345678901234567890}'), row("{}")])).toEqual(['{"n":1.50,  "n":12345678901234567890}\n', "{}\n"]);
});

test("CSV has the columns, quotes what needs it, and holds no formula", () => {
  const lines = toCsv([row('{"a":"x,\\"y\\"","b":"=1+1","c":-5,"d":"-5+1"}')], ["record.timestamp", "record.offset", "event.a", "event.b", "event.c", "event.d", "event.e", "event"]);
  expect(lines[0]).toBe("Time,Offset,a,b,c,d,e,source,event\r\n");
  expect(lines[1]).toBe('2024-01-01T00:00:00.000Z,42,"x,""y""",\'=1+1,-5,\'-5+1,,clicks/3/42,"{""a"":""x,\\""y\\"""",""b"":""=1+1"",""c"":-5,""d"":""-5+1""}"\r\n');
});
