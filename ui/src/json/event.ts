import type { EventRow } from "../store/rows";

type Fields = Readonly<Record<string, unknown>>;

const parsed = new WeakMap<EventRow, Fields>();
const nothing: Fields = {};

/** The event as values, parsed when first looked at; rows that are never in sight never are. */
export function eventOf(row: EventRow): Fields {
  let event = parsed.get(row);
  if (event === undefined) {
    event = parse(row.body);
    parsed.set(row, event);
  }
  return event;
}

/** The value at a dotted path as one line of text; `undefined` when it is absent. */
export function textAt(event: Fields, path: string): string | undefined {
  let value: unknown = event;
  for (const part of path.split(".")) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Fields)[part];
  }
  return oneLine(value);
}

/** The event's other fields in a line, at most `limit` characters. */
export function preview(event: Fields, without: readonly string[], limit: number): readonly (readonly [string, string])[] {
  const pairs: (readonly [string, string])[] = [];
  let length = 0;
  for (const [name, value] of Object.entries(event)) {
    if (without.includes(name)) continue;
    const text = oneLine(value).slice(0, limit);
    pairs.push([name, text]);
    length += name.length + text.length + 3;
    if (length > limit) break;
  }
  return pairs;
}

function oneLine(value: unknown): string {
  return typeof value === "string" ? value : (JSON.stringify(value) ?? "");
}

function parse(body: string): Fields {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === "object" && value !== null ? (value as Fields) : nothing;
  } catch {
    return nothing;
  }
}
