/**
 * The simple form and the filter, each from the other. A condition is one row of the form and one clause of the filter;
 * a filter that is not a chain of such clauses cannot be said in the form, and is left as it is written.
 */
import { celPath, fieldPath, isPlain, readCelPath, readFieldPath } from "../json/path";

export interface Condition {
  /** A field's path as the catalogue writes it. */
  readonly field: string;
  readonly operator: Operator;
  /** As typed: `12`, `true` and `null` are what they look like, anything else is text; quotes make text of anything. */
  readonly value: string;
}

export type Operator = "is" | "isNot" | "contains" | "startsWith" | ">" | ">=" | "<" | "<=" | "exists";

/** In the order in which the form offers them. */
export const operators: readonly (readonly [Operator, string])[] = [
  ["is", "is"],
  ["isNot", "is not"],
  ["contains", "contains"],
  ["startsWith", "begins with"],
  [">", ">"],
  [">=", "≥"],
  ["<", "<"],
  ["<=", "≤"],
  ["exists", "exists"],
];

/** Whether the row says something already; one that does not is no part of the filter. */
export function isComplete({ field, operator, value }: Condition): boolean {
  return field.trim() !== "" && (operator === "exists" || value !== "");
}

/** The filter that the rows say, those that are complete. */
export function toFilter(conditions: readonly Condition[]): string {
  return conditions.filter(isComplete).map(clause).join(" && ");
}

function clause({ field, operator, value }: Condition): string {
  const path = readFieldPath(field.trim());
  const access = celPath(path);
  switch (operator) {
    case "is":
      return `${access} == ${literal(value)}`;
    case "isNot":
      return excluding(path, `${access} != ${literal(value)}`);
    case "contains":
    case "startsWith":
      return `${access}.${operator}(${JSON.stringify(unquoted(value))})`;
    case "exists":
      return exists(path);
    default:
      return `${access} ${operator} ${literal(value)}`;
  }
}

/**
 * A clause that holds when the field is not there as well: in CEL alone, `event.x != 1` is an error without `x`, and
 * an event with an error does not match.
 */
export function excluding(path: readonly string[], clause: string): string {
  const absent = path.map((_, index) => {
    const present = exists(path.slice(0, index + 1));
    return present.startsWith("has(") ? `!${present}` : `!(${present})`;
  });
  return `(${[...absent, clause].join(" || ")})`;
}

function exists(path: readonly string[]): string {
  const last = path.at(-1) ?? "";
  return isPlain(last) ? `has(${celPath(path)})` : `${JSON.stringify(last)} in ${celPath(path.slice(0, -1))}`;
}

const number = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

/** What was typed as CEL. */
export function literal(typed: string): string {
  if (isQuoted(typed)) return typed;
  if (typed === "true" || typed === "false" || typed === "null") return typed;
  return number.test(typed) ? numberLiteral(typed) : JSON.stringify(typed);
}

/** A number of JSON as the number of CEL that the server makes of it: int, uint above it, otherwise double. */
function numberLiteral(text: string): string {
  if (!/^-?\d+$/.test(text)) return text;
  const whole = BigInt(text);
  if (whole >= -(2n ** 63n) && whole < 2n ** 63n) return text;
  return whole > 0n && whole < 2n ** 64n ? `${text}u` : `${text}.0`;
}

/** What to show in the form for a literal of JSON or CEL, so that `literal` gives it again. */
export function typed(json: string): string {
  if (!json.startsWith('"')) return json.replace(/^(\d+)u$/, "$1");
  const text = JSON.parse(json) as string;
  return literal(text) === json ? text : json;
}

function isQuoted(typed: string): boolean {
  return typed.length >= 2 && typed.startsWith('"') && unquoted(typed) !== typed;
}

function unquoted(typed: string): string {
  if (!typed.startsWith('"')) return typed;
  try {
    const value: unknown = JSON.parse(typed);
    return typeof value === "string" ? value : typed;
  } catch {
    return typed;
  }
}

/** The rows that say `filter`; `undefined` when the form cannot. */
export function toConditions(filter: string): readonly Condition[] | undefined {
  if (filter.trim() === "") return [];
  const conditions: Condition[] = [];
  for (const text of split(filter, "&&")) {
    const condition = readClause(text.trim());
    if (condition === undefined) return undefined;
    conditions.push(condition);
  }
  return conditions;
}

const path = String.raw`event(?:\.[A-Za-z_][A-Za-z0-9_]*|\["(?:[^"\\]|\\.)*"\])+`;
const value = String.raw`"(?:[^"\\]|\\.)*"|'[^'\\"]*'|-?\d[\d.eE+-]*u?|true|false|null`;
const comparison = new RegExp(`^(${path})\\s*(==|!=|>=|<=|>|<)\\s*(${value})$`, "s");
const call = new RegExp(`^(${path})\\.(contains|startsWith)\\(\\s*("(?:[^"\\\\]|\\\\.)*"|'[^'\\\\"]*')\\s*\\)$`, "s");
const presence = new RegExp(`^has\\((${path})\\)$`, "s");
const signs: Readonly<Record<string, Operator>> = { "==": "is", ">": ">", ">=": ">=", "<": "<", "<=": "<=" };

function readClause(text: string): Condition | undefined {
  const compared = comparison.exec(text);
  const operator = compared && signs[compared[2] ?? ""];
  if (compared && operator) return condition(compared[1], operator, compared[3]);
  const called = call.exec(text);
  if (called) return condition(called[1], called[2] as Operator, called[3]);
  const present = presence.exec(text);
  if (present) return condition(present[1], "exists", '""', "");
  if (!text.startsWith("(") || !text.endsWith(")")) return undefined;
  const last = comparison.exec(split(text.slice(1, -1), "||").at(-1)?.trim() ?? "");
  if (last?.[2] !== "!=") return undefined;
  const found = condition(last[1], "isNot", last[3]);
  // Only exactly what the form writes has exactly its meaning.
  return found && squeezed(clause(found)) === squeezed(text) ? found : undefined;
}

function condition(access: string | undefined, operator: Operator, cel: string | undefined, shown?: string): Condition | undefined {
  const fields = readCelPath(access ?? "");
  if (fields === undefined || cel === undefined) return undefined;
  const json = cel.startsWith("'") ? JSON.stringify(cel.slice(1, -1)) : cel;
  try {
    return { field: fieldPath(fields), operator, value: shown ?? typed(json) };
  } catch {
    // An escape that CEL has and JSON has not.
    return undefined;
  }
}

/** The text between the signs that stand in no parentheses and no quotes. */
function split(text: string, sign: "&&" | "||"): string[] {
  const parts: string[] = [];
  let depth = 0;
  let from = 0;
  for (const found of text.matchAll(/"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[([{]|[)\]}]|&&|\|\|/gs)) {
    const [mark] = found;
    if ("([{".includes(mark)) depth += 1;
    else if (")]}".includes(mark)) depth -= 1;
    else if (mark === sign && depth === 0) {
      parts.push(text.slice(from, found.index));
      from = found.index + mark.length;
    }
  }
  return [...parts, text.slice(from)];
}

/** Without the white space between words. */
function squeezed(text: string): string {
  return text.replace(/("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|\s+/gs, (_, quoted?: string) => quoted ?? "");
}
