/**
 * JSON as it was written: numbers keep every digit, repeated keys all show, text stays escaped until somebody looks
 * at it. `JSON.parse` keeps neither.
 */
export type Json =
  | { readonly kind: "object"; readonly members: readonly Member[] }
  | { readonly kind: "array"; readonly items: readonly Json[] }
  /** `text` is the JSON of the value. */
  | { readonly kind: "string" | "number" | "literal"; readonly text: string };

export interface Member {
  readonly name: string;
  readonly value: Json;
}

/** The server refuses what is nested deeper than 100. */
const deepest = 200;

const token = /[ \t\n\r]*(?:("[^"\\]*(?:\\.[^"\\]*)*")|(-?\d[\d.eE+-]*)|(true|false|null)|([{}[\],:]))/suy;

/** `undefined` for text that is not JSON. */
export function parse(text: string): Json | undefined {
  const reader = new Reader(text);
  const value = reader.value(0);
  return value !== undefined && reader.atEnd() ? value : undefined;
}

/** The value at `path`; of repeated keys the last counts, as it does for the filter. */
export function at(json: Json | undefined, path: readonly (string | number)[]): Json | undefined {
  let value = json;
  for (const part of path) {
    if (value?.kind === "object") value = value.members.findLast(({ name }) => name === part)?.value;
    else if (value?.kind === "array") value = value.items[Number(part)];
    else return undefined;
  }
  return value;
}

/** One line: a text without its quotes, anything else as JSON without white space; at most about `limit` characters. */
export function oneLine(json: Json, limit: number): string {
  if (json.kind === "string") return textOf(json.text, limit);
  return compact(json, limit);
}

/** JSON without white space; at most about `limit` characters. */
export function compact(json: Json, limit: number): string {
  switch (json.kind) {
    case "object":
      return `{${listed(json.members, limit, ({ name, value }, left) => `${JSON.stringify(name)}:${compact(value, left)}`)}}`;
    case "array":
      return `[${listed(json.items, limit, compact)}]`;
    default:
      return json.text.length > limit ? `${json.text.slice(0, limit)}…` : json.text;
  }
}

/** The text that a JSON string stands for, of a long one its beginning. */
export function textOf(json: string, limit: number): string {
  if (json.length <= limit + 2) return JSON.parse(json) as string;
  // Cut where no escape is torn apart.
  const cut = json.slice(0, limit + 1).replace(/\\(?:u[0-9a-fA-F]{0,3})?$/, "");
  try {
    return `${JSON.parse(`${cut}"`) as string}…`;
  } catch {
    return `${cut.slice(1)}…`;
  }
}

function listed<T>(all: readonly T[], limit: number, write: (one: T, left: number) => string): string {
  let text = "";
  for (const one of all) {
    if (text !== "") text += ",";
    if (text.length >= limit) return `${text}…`;
    text += write(one, limit - text.length);
  }
  return text;
}

class Reader {
  readonly #text: string;
  readonly #pattern = new RegExp(token);
  #at = 0;
  readonly #end: number;

  constructor(text: string) {
    this.#text = text;
    this.#end = text.trimEnd().length;
  }

  atEnd(): boolean {
    return this.#at >= this.#end;
  }

  value(depth: number): Json | undefined {
    const [, string, number, literal, mark] = this.#next() ?? [];
    if (string !== undefined) return wellFormed(string) ? { kind: "string", text: string } : undefined;
    if (number !== undefined) return { kind: "number", text: number };
    if (literal !== undefined) return { kind: "literal", text: literal };
    if (depth > deepest) return undefined;
    if (mark === "{") return this.#object(depth);
    return mark === "[" ? this.#array(depth) : undefined;
  }

  #object(depth: number): Json | undefined {
    const members: Member[] = [];
    if (this.#take("}")) return { kind: "object", members };
    do {
      const key = this.#next()?.[1];
      if (key === undefined || !wellFormed(key) || !this.#take(":")) return undefined;
      const value = this.value(depth + 1);
      if (value === undefined) return undefined;
      members.push({ name: JSON.parse(key) as string, value });
    } while (this.#take(","));
    return this.#take("}") ? { kind: "object", members } : undefined;
  }

  #array(depth: number): Json | undefined {
    const items: Json[] = [];
    if (this.#take("]")) return { kind: "array", items };
    do {
      const item = this.value(depth + 1);
      if (item === undefined) return undefined;
      items.push(item);
    } while (this.#take(","));
    return this.#take("]") ? { kind: "array", items } : undefined;
  }

  #next(): RegExpExecArray | undefined {
    this.#pattern.lastIndex = this.#at;
    const found = this.#pattern.exec(this.#text);
    if (found === null) return undefined;
    this.#at = this.#pattern.lastIndex;
    return found;
  }

  #take(mark: string): boolean {
    const before = this.#at;
    if (this.#next()?.[4] === mark) return true;
    this.#at = before;
    return false;
  }
}

/** Most texts have no escape; those that have are tried. */
function wellFormed(json: string): boolean {
  if (!/[\\\u0000-\u001f]/.test(json)) return true;
  try {
    JSON.parse(json);
    return true;
  } catch {
    return false;
  }
}
