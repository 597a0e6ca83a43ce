/** Where a value stands in an event: names of fields, and positions in lists. */
export type Path = readonly (string | number)[];

const identifier = /^[A-Za-z_][A-Za-z0-9_]*$/;
/** CEL reserves these; a field of that name stands in brackets. */
const reserved = new Set([
  ...["as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop"],
  ...["package", "namespace", "null", "return", "true", "var", "void", "while"],
]);

/** `event.items[0].sku`, `event["user-agent"]`: how a filter names the value. */
export function celPath(path: Path, root = "event"): string {
  return path.reduce<string>((text, part) => {
    if (typeof part === "number") return `${text}[${part}]`;
    return isPlain(part) ? `${text}.${part}` : `${text}[${JSON.stringify(part)}]`;
  }, root);
}

/** Whether a dot and the name select it. */
export function isPlain(name: string): boolean {
  return identifier.test(name) && !reserved.has(name);
}

const step = /\.([A-Za-z_][A-Za-z0-9_]*)|\[("(?:[^"\\]|\\.)*")\]/y;

/** Reads what `celPath` writes for fields (without list positions); anything else gives `undefined`. */
export function readCelPath(text: string): readonly string[] | undefined {
  const root = text.startsWith("event") ? "event".length : -1;
  if (root < 0 || text.length === root) return undefined;
  const path: string[] = [];
  const pattern = new RegExp(step);
  for (let at = root; at < text.length; at = pattern.lastIndex) {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (found === null) return undefined;
    const name = found[1] ?? parsedText(found[2] ?? "");
    if (name === undefined) return undefined;
    path.push(name);
  }
  return path;
}

/** ``page.path``, `` `user-agent` ``: how the catalogue, `fields` and the list's columns name a field. */
export function fieldPath(path: readonly string[]): string {
  return path.map((part) => (identifier.test(part) || /^[A-Za-z0-9_-]+$/.test(part) ? part : `\`${part}\``)).join(".");
}

/** Reads what `fieldPath` writes; what is not well formed is taken as it stands, for it may come from a link. */
export function readFieldPath(text: string): readonly string[] {
  const parts = [...text.matchAll(/`([^`]*)`|([^.`]+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? "");
  return parts.length === 0 ? [text] : parts;
}

/** Splits a list of field paths at its commas, those between backticks left alone. */
export function splitPaths(text: string): string[] {
  return (text.match(/(?:`[^`]*`|[^,`])+/g) ?? []).map((part) => part.trim()).filter((part) => part !== "");
}

function parsedText(json: string): string | undefined {
  try {
    return JSON.parse(json) as string;
  } catch {
    return undefined;
  }
}
