/** What is shown, as a file. */
import { parse } from "./json/parse";
import { textAt } from "./json/rows";
import { columnField, columnLabel } from "./query/view";
import { positionOf, type EventRow } from "./store/rows";

const largestCell = 1_000_000;

/** One event per line, each as it came. White space between values may hold line ends, which a line cannot. */
export function toNdjson(rows: readonly EventRow[]): string[] {
  return rows.map(({ body }) => `${body.replace(/[\r\n]+/g, " ")}\n`);
}

/** The columns of the list, and where each event lies in Kafka. RFC 4180, UTF-8. */
export function toCsv(rows: readonly EventRow[], columns: readonly string[]): string[] {
  const own = columns.filter((id) => id !== "event");
  const head = [...own.map(columnLabel), "source", "event"].map(cell).join(",");
  const line = (row: EventRow) => [...own.map((id) => valueOf(row, id)), row.source, row.body].map(cell).join(",");
  return [`${head}\r\n`, ...rows.map((row) => `${line(row)}\r\n`)];
}

function valueOf(row: EventRow, id: string): string {
  const field = columnField(id);
  if (field !== undefined) return textAt(parse(row.body) ?? { kind: "object", members: [] }, field, largestCell) ?? "";
  if (id === "record.timestamp") return row.time;
  const { topic, partition, offset } = positionOf(row);
  return { "record.topic": topic, "record.partition": partition, "record.offset": offset }[id] ?? "";
}

/** Spreadsheets take text with such a beginning for a formula, and run it. */
const formula = /^(?:[=@\t\r]|[+-](?!\d+(?:\.\d+)?(?:[eE][+-]?\d+)?$))/;

function cell(text: string): string {
  const safe = formula.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** Hands `parts` to the browser as a file to keep. */
export function download(name: string, type: string, parts: string[]): void {
  const url = URL.createObjectURL(new Blob(parts, { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  // The browser has taken hold of it by then.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

