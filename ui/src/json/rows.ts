import type { EventRow } from "../store/rows";
import { at, oneLine, parse, type Json } from "./parse";

const nothing: Json = { kind: "object", members: [] };

/** Rows in sight, and some around them; those that left are read again if somebody comes back. */
const maxParsed = 400;
const parsed = new Map<EventRow, Json>();

/** The event as values, read when first looked at; rows that are never in sight never are. */
export function eventOf(row: EventRow): Json {
  let event = parsed.get(row);
  if (event === undefined) {
    event = parse(row.body) ?? nothing;
    const [oldest] = parsed.keys();
    if (oldest !== undefined && parsed.size >= maxParsed) parsed.delete(oldest);
    parsed.set(row, event);
  }
  return event;
}

/** The value at a path in one line; `undefined` when it is absent. */
export function textAt(event: Json, path: readonly string[], limit: number): string | undefined {
  const value = at(event, path);
  return value && oneLine(value, limit);
}

/** The event's other fields in a line, at most about `limit` characters. */
export function preview(event: Json, without: readonly string[], limit: number): readonly (readonly [string, string])[] {
  const pairs: (readonly [string, string])[] = [];
  let length = 0;
  if (event.kind !== "object") return pairs;
  for (const { name, value } of event.members) {
    if (without.includes(name)) continue;
    const text = oneLine(value, limit);
    pairs.push([name.slice(0, limit), text]);
    length += name.length + text.length + 3;
    if (length > limit) break;
  }
  return pairs;
}
