/** A matching event, its text as it came from the server. */
export interface EventRow {
  readonly kind: "event";
  /** Counts all rows since the start of the run; a row keeps its number. */
  readonly seq: number;
  /** `<topic>/<partition>/<offset>` */
  readonly source: string;
  /** The record's timestamp, RFC 3339. */
  readonly time: string;
  readonly body: string;
}

/** The event did not fit a message of the filtered topic; only where it lies is known. Its body is then `null`. */
export function isTooLarge(row: EventRow): boolean {
  return row.body === "null";
}

/** Where the record lies. A topic's name has no slash. */
export function positionOf({ source }: EventRow): { readonly topic: string; readonly partition: string; readonly offset: string } {
  const [topic = "", partition = "", offset = ""] = source.split("/");
  return { topic, partition, offset };
}

/** Something to know between events, in words: what was left out, a gap, an end. */
export interface NoticeRow {
  readonly kind: "notice";
  readonly seq: number;
  /** When this page learnt of it, RFC 3339. */
  readonly time: string;
  readonly tone: "info" | "warning";
  readonly text: string;
}

export type Row = EventRow | NoticeRow;

/** What the rest of the page needs to know of the rows; replaced, never changed. */
export interface RowCounts {
  /** Number of the oldest row kept. */
  readonly first: number;
  /** Number that the next row gets. */
  readonly next: number;
  /** Events added since the start of the run. */
  readonly received: number;
  /** Events that left at the bound. */
  readonly removed: number;
}

/** Rows that the page keeps; beyond them the oldest leave. */
export const maxRows = 50_000;

/** Characters of event text that the page keeps, so that few but huge events cannot fill the memory either. */
export const maxCharacters = 128 * 1024 * 1024;

/**
 * The newest rows, in a ring: adding costs the same at any length.
 * It changes in place, outside of React; `counts()` is the snapshot that rendering goes by.
 */
export class RowBuffer {
  #ring: (Row | undefined)[] = [];
  #first = 0;
  #next = 0;
  #received = 0;
  #removed = 0;
  #characters = 0;

  constructor(
    readonly rowLimit: number = maxRows,
    readonly characterLimit: number = maxCharacters,
  ) {}

  addEvent(source: string, time: string, body: string): void {
    this.#received += 1;
    this.#add({ kind: "event", seq: this.#next, source, time, body });
  }

  addNotice(time: string, tone: NoticeRow["tone"], text: string): void {
    this.#add({ kind: "notice", seq: this.#next, time, tone, text });
  }

  /** The row with that number, if it is still kept. */
  get(seq: number): Row | undefined {
    return seq >= this.#first && seq < this.#next ? this.#ring[seq % this.rowLimit] : undefined;
  }

  counts(): RowCounts {
    return { first: this.#first, next: this.#next, received: this.#received, removed: this.#removed };
  }

  clear(): void {
    this.#ring = [];
    this.#first = this.#next = this.#received = this.#removed = this.#characters = 0;
  }

  #add(row: Row): void {
    if (this.#next - this.#first >= this.rowLimit) this.#removeOldest();
    this.#ring[row.seq % this.rowLimit] = row;
    this.#next += 1;
    this.#characters += characters(row);
    // The newest row stays even when it alone is over the limit.
    while (this.#characters > this.characterLimit && this.#next - this.#first > 1) this.#removeOldest();
  }

  #removeOldest(): void {
    const slot = this.#first % this.rowLimit;
    const row = this.#ring[slot];
    this.#ring[slot] = undefined;
    this.#first += 1;
    if (row === undefined) return;
    this.#characters -= characters(row);
    if (row.kind === "event") this.#removed += 1;
  }
}

function characters(row: Row): number {
  return row.kind === "event" ? row.body.length : row.text.length;
}
