import { HighlightStyle, StreamLanguage, syntaxHighlighting } from "@codemirror/language";
import { tags } from "@lezer/highlight";

/** What the filter language has, for completion; `docs/QUERY.md` says what each does. */
export const textFunctions = ["contains", "startsWith", "endsWith", "matches"] as const;
export const listMacros = ["exists", "all", "exists_one", "filter", "map"] as const;
export const globalFunctions = ["has", "size", "int", "uint", "double", "string", "bool", "timestamp", "duration", "type"] as const;
export const recordFields = ["topic", "partition", "offset", "timestamp", "key", "headers"] as const;

const words = /^[A-Za-z_][A-Za-z0-9_]*/;

/** CEL, as far as colours go. */
const cel = StreamLanguage.define({
  name: "cel",
  token(stream) {
    if (stream.eatSpace()) return null;
    if (stream.match(/^[rR]?(?:"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?)/)) return "string";
    if (stream.match(/^\d[\w.]*/)) return "number";
    const word = stream.match(words);
    if (word) {
      const text = (word as RegExpMatchArray)[0];
      if (text === "true" || text === "false" || text === "null") return "atom";
      if (text === "in") return "keyword";
      if (text === "event" || text === "record") return "variableName";
      return stream.match(/^\s*\(/, false) ? "labelName" : "propertyName";
    }
    if (stream.match(/^(?:&&|\|\||[=!<>]=|[<>!?:+\-*/%])/)) return "keyword";
    stream.next();
    return null;
  },
  languageData: { closeBrackets: { brackets: ["(", "[", '"'] } },
});

const style = HighlightStyle.define([
  { tag: tags.string, color: "var(--json-string)" },
  { tag: tags.number, color: "var(--json-number)" },
  { tag: tags.atom, color: "var(--json-literal)" },
  { tag: tags.keyword, color: "var(--muted)" },
  { tag: tags.variableName, color: "var(--text)" },
  { tag: tags.propertyName, color: "var(--json-key)" },
  { tag: tags.labelName, color: "var(--accent)" },
]);

export const language = [cel, syntaxHighlighting(style)];
