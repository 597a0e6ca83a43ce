/** What this browser remembers of its viewer. Private windows may forbid it; then nothing is remembered. */
import { usualView, type View } from "../query/view";
import type { SavedView } from "./state";

const viewKey = "clickstream.view";
const savedKey = "clickstream.saved";
const maxSaved = 200;

export function rememberedView(): View {
  const value = read(viewKey);
  if (!isObject(value)) return usualView;
  const columns = Array.isArray(value["columns"]) ? value["columns"].filter(isText).slice(0, 40) : [];
  const widths = isObject(value["widths"]) ? Object.entries(value["widths"]).filter((entry): entry is [string, number] => Number.isFinite(entry[1])) : [];
  return {
    columns: columns.length > 0 ? columns : undefined,
    widths: Object.fromEntries(widths),
    newest: value["newest"] === "bottom" ? "bottom" : "top",
    time: value["time"] === "utc" ? "utc" : "local",
    top: isText(value["top"]) ? value["top"] : undefined,
  };
}

export function rememberView(view: View): void {
  write(viewKey, view);
}

export function savedViews(): readonly SavedView[] {
  const value = read(savedKey);
  if (!Array.isArray(value)) return [];
  return value.filter((item): item is SavedView => isObject(item) && isText(item["name"]) && isText(item["search"])).slice(0, maxSaved);
}

/** Keeps the newest `maxSaved`; returns what is kept. */
export function saveViews(views: readonly SavedView[]): readonly SavedView[] {
  const kept = views.slice(0, maxSaved);
  write(savedKey, kept);
  return kept;
}

function read(key: string): unknown {
  try {
    return JSON.parse(window.localStorage.getItem(key) ?? "null");
  } catch {
    return undefined;
  }
}

function write(key: string, value: unknown): void {
  try {
    window.localStorage.setItem(key, JSON.stringify(value));
  } catch {
    // Full or forbidden: the view lasts as long as the page, and its link for ever.
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}
