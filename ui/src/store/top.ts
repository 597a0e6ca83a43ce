import { at, compact, oneLine, parse } from "../json/parse";
import { readFieldPath } from "../json/path";
import type { RowBuffer } from "./rows";
import type { TopValues } from "./state";

/** Different values that are told apart; with more, those that came late are counted together. */
const maxValues = 1_000;
const shownValues = 6;
const shownCharacters = 60;
/** Rows looked at in one go, so that counting never holds the page up. */
const atOnce = 400;

/** Counts the values of one field, over every match received since the start or since the field was chosen. */
export class TopCounter {
  readonly #field: string;
  readonly #path: readonly string[];
  readonly #counts = new Map<string, number>();
  #next = 0;
  #counted = 0;
  #others = 0;
  #absent = 0;

  constructor(field: string) {
    this.#field = field;
    this.#path = readFieldPath(field);
  }

  get field(): string {
    return this.#field;
  }

  /** Takes in rows that came since the last call; whether any did. */
  take(rows: RowBuffer): boolean {
    const { first, next } = rows.counts();
    const from = Math.max(this.#next, first);
    const to = Math.min(next, from + atOnce);
    for (let seq = from; seq < to; seq += 1) {
      const row = rows.get(seq);
      if (row?.kind === "event") this.#count(row.body);
    }
    this.#next = to;
    return to > from;
  }

  values(): TopValues {
    const values = [...this.#counts].sort((a, b) => b[1] - a[1]);
    const others = values.slice(shownValues).reduce((sum, [, count]) => sum + count, this.#others);
    return { field: this.#field, counted: this.#counted, values: values.slice(0, shownValues), others, absent: this.#absent };
  }

  #count(body: string): void {
    this.#counted += 1;
    const value = at(parse(body), this.#path);
    if (value === undefined) {
      this.#absent += 1;
      return;
    }
    // Text that looks like a number keeps its quotes, or the two would be one.
    const line = value.kind === "string" ? oneLine(value, shownCharacters) : compact(value, shownCharacters);
    const key = value.kind === "string" && /^(?:[-\d[{]|true$|false$|null$)/.test(line) ? JSON.stringify(line) : line;
    const count = this.#counts.get(key);
    if (count !== undefined || this.#counts.size < maxValues) this.#counts.set(key, (count ?? 0) + 1);
    else this.#others += 1;
  }
}
