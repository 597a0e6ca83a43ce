import { fieldPath, readFieldPath, splitPaths } from "../json/path";

/** How the answer is looked at. In the URL beside the query, and remembered in the browser. */
export interface View {
  /** Ids of columns in their order; `undefined` = the usual ones. */
  readonly columns: readonly string[] | undefined;
  /** Pixels of the columns whose width the viewer has set. */
  readonly widths: Readonly<Record<string, number>>;
  readonly newest: "top" | "bottom";
  readonly time: Zone;
  /** Path of the field whose top values are counted; `undefined` = the event type, empty = none. */
  readonly top: string | undefined;
}

export type Zone = "local" | "utc";

export const usualView: View = { columns: undefined, widths: {}, newest: "top", time: "local", top: undefined };

/** A link cannot ask for more columns than anyone could look at. */
const maxColumns = 40;
const names = ["columns", "newest", "time", "top"] as const;

/** The id of a column that shows a field. */
export function fieldColumn(path: string): string {
  return `event.${path}`;
}

/** The field that a column shows; `undefined` for those of the record, and for the rest of the event. */
export function columnField(id: string): readonly string[] | undefined {
  return id.startsWith("event.") && id.length > 6 ? readFieldPath(id.slice(6)) : undefined;
}

/** What the URL says of the view, and what it does not say from `remembered`. */
export function viewFrom(search: string, remembered: View): View {
  const parameters = new URLSearchParams(search);
  const columns = [...new Set(splitPaths(parameters.get("columns") ?? ""))].slice(0, maxColumns);
  const [newest, time, top] = [parameters.get("newest"), parameters.get("time"), parameters.get("top")];
  return {
    ...remembered,
    columns: columns.length > 0 ? columns : remembered.columns,
    newest: newest === "bottom" || newest === "top" ? newest : remembered.newest,
    time: time === "utc" || time === "local" ? time : remembered.time,
    top: top ?? remembered.top,
  };
}

/** Writes `view` into `search`, what is usual left out. Widths are a matter of one's own screen. */
export function withView(view: View, search: string): string {
  const parameters = new URLSearchParams(search);
  for (const name of names) parameters.delete(name);
  if (view.columns !== undefined) parameters.set("columns", view.columns.join(","));
  if (view.newest !== usualView.newest) parameters.set("newest", view.newest);
  if (view.time !== usualView.time) parameters.set("time", view.time);
  if (view.top !== undefined) parameters.set("top", view.top);
  const text = parameters.toString();
  return text === "" ? "" : `?${text}`;
}

/** Moves the column `id` to the place of `to`. */
export function moved(columns: readonly string[], id: string, to: string): readonly string[] {
  const target = columns.indexOf(to);
  if (target < 0 || !columns.includes(id)) return columns;
  const others = columns.filter((column) => column !== id);
  return [...others.slice(0, target), id, ...others.slice(target)];
}

/** A heading: the field's name as short as it can be understood. */
export function columnLabel(id: string): string {
  if (id === "event") return "Event";
  const field = columnField(id);
  if (field !== undefined) return fieldPath(field);
  return { "record.timestamp": "Time", "record.topic": "Topic", "record.partition": "Partition", "record.offset": "Offset" }[id] ?? id;
}

/** Columns that are there whatever the events contain. */
export const recordColumns = ["record.timestamp", "record.topic", "record.partition", "record.offset", "event"] as const;
