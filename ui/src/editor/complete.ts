import type { Completion, CompletionContext, CompletionResult } from "@codemirror/autocomplete";
import type { EditorView } from "@codemirror/view";
import type { EventType, Field } from "../api/types";
import { celPath, isPlain, readFieldPath } from "../json/path";
import { globalFunctions, listMacros, recordFields, textFunctions } from "./language";

/** What the stream contains, as far as the page knows. */
export interface Known {
  readonly fields: readonly Field[];
  readonly eventTypes: readonly EventType[];
  readonly eventTypeField: string;
}

/** What may come next in a filter: fields and their values as the stream has them, and functions. */
export function completions(context: CompletionContext, known: Known): CompletionResult | null {
  const value = context.matchBefore(/event[\w.[\]"-]*\s*(?:==|!=|in\s*\[(?:[^\]]*,)?)\s*(?:"[^"]*|[\w.-]*)/);
  if (value !== null) return values(value, known);
  const member = context.matchBefore(/\b(?:event|record)(?:\.\w+)*\.\w*/);
  if (member !== null) return members(member, known);
  const word = context.matchBefore(/\w+/);
  if (word === null && !context.explicit) return null;
  const names: Completion[] = [
    { label: "event", type: "variable", detail: "the event" },
    { label: "record", type: "variable", detail: "what Kafka knows of it" },
    ...globalFunctions.map((name): Completion => ({ label: name, apply: `${name}(`, type: "function" })),
  ];
  return { from: word?.from ?? context.pos, options: names, validFor: /^\w*$/ };
}

function values({ from, text }: Match, known: Known): CompletionResult | null {
  const parts = /^(event[\w.[\]"-]*?)\s*(?:==|!=|in\s*\[(?:[^\]]*,)?)\s*("?[^"]*)$/s.exec(text);
  const written = parts?.[2] ?? "";
  const field = known.fields.find(({ path }) => celPath(readFieldPath(path)) === parts?.[1]);
  const examples = field?.path === known.eventTypeField ? known.eventTypes.map(({ name }) => JSON.stringify(name)) : (field?.examples ?? []);
  if (examples.length === 0) return null;
  return { from: from + text.length - written.length, options: examples.map((label): Completion => ({ label, type: "constant", apply: replaceQuoted })), validFor: /^"?[^"]*$/ };
}

/** The closing quote that the editor has put behind what is typed goes as well. */
function replaceQuoted(view: EditorView, { label }: Completion, from: number, to: number): void {
  const end = view.state.sliceDoc(to, to + 1) === '"' ? to + 1 : to;
  view.dispatch({ changes: { from, to: end, insert: label }, selection: { anchor: from + label.length }, userEvent: "input.complete" });
}

function members({ from, text }: Match, known: Known): CompletionResult | null {
  const dot = text.lastIndexOf(".");
  const [root, ...before] = text.slice(0, dot).split(".");
  const at = { from: from + dot + 1, validFor: /^\w*$/ };
  if (root === "record") return before.length > 0 ? null : { ...at, options: recordFields.map((label): Completion => ({ label, type: "property" })) };
  const options = new Map<string, Completion>();
  let kinds: readonly string[] = [];
  for (const { path, kinds: seen } of known.fields) {
    const parts = readFieldPath(path);
    if (!before.every((part, index) => parts[index] === part)) continue;
    if (parts.length === before.length) kinds = seen;
    const next = parts[before.length];
    if (next === undefined || !isPlain(next) || options.has(next)) continue;
    options.set(next, parts.length === before.length + 1 ? { label: next, type: "property", detail: seen.join(", "), boost: 1 } : { label: next, type: "property", boost: 1 });
  }
  const functions = before.length === 0 ? [] : [...(kinds.includes("array") || kinds.includes("list") ? listMacros : []), ...(kinds.length === 0 || kinds.includes("string") ? textFunctions : [])];
  for (const name of functions) options.set(`${name}(`, { label: name, apply: `${name}(`, type: "method" });
  return options.size === 0 ? null : { ...at, options: [...options.values()] };
}

interface Match {
  readonly from: number;
  readonly text: string;
}
