/** A query with one more clause: what "filter for this" and "exclude this" make of it. */
import { celPath, fieldPath, type Path } from "../json/path";
import { excluding, literal, typed, type Condition } from "./form";
import { fitsInList, joined, type Query } from "./query";

/** Longer values make no sensible clause, and would soon pass the limit of a filter. */
export const longestValue = 1_000;

/**
 * `json` is the value as it stands in the event. Where the form can say it, the new clause is one of its rows; a row
 * that asks for another value of the same field gives way.
 */
export function refined(query: Query, conditions: readonly Condition[] | undefined, path: Path, json: string, exclude: boolean, eventTypeField: string): Refined {
  const fields = path.filter((part) => typeof part === "string");
  const inList = fields.length < path.length;
  const field = fieldPath(fields);
  const cel = literal(typed(json));
  if (!exclude && !inList && field === eventTypeField && json.startsWith('"')) {
    const name = JSON.parse(json) as string;
    if (fitsInList(name)) return { query: { ...query, eventTypes: [name] } };
  }
  if (conditions === undefined || inList) return { query: { ...query, filter: joined(query.filter, clause(path, cel, exclude)) } };
  const kept = exclude ? conditions : conditions.filter((row) => row.field !== field || row.operator !== "is");
  return { query, conditions: [...kept, { field, operator: exclude ? "isNot" : "is", value: typed(json) }] };
}

export interface Refined {
  readonly query: Query;
  /** Set when the filter is to be said by these rows. */
  readonly conditions?: readonly Condition[];
}

/** Of a value in a list: whether any element has it, for its position says little. */
function clause(path: Path, cel: string, exclude: boolean): string {
  const list = path.findIndex((part) => typeof part === "number");
  const head = path.slice(0, list < 0 ? path.length : list).filter((part) => typeof part === "string");
  if (list < 0) return exclude ? excluding(head, `${celPath(path)} != ${cel}`) : `${celPath(path)} == ${cel}`;
  const some = anyOf(celPath(head), path.slice(list), cel, 1);
  return exclude ? excluding(head, `!${some}`) : some;
}

/** `path` begins with a position in the list `access`. */
function anyOf(access: string, path: Path, cel: string, depth: number): string {
  const name = depth === 1 ? "item" : `item${depth}`;
  const rest = path.slice(1);
  const next = rest.findIndex((part) => typeof part === "number");
  const inner = next < 0 ? `${celPath(rest, name)} == ${cel}` : anyOf(celPath(rest.slice(0, next), name), rest.slice(next), cel, depth + 1);
  return `${access}.exists(${name}, ${inner})`;
}
