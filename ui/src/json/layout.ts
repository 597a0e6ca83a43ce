/** What a piece of JSON is, for its colour. */
export type TokenKind = "key" | "string" | "number" | "literal" | "punctuation";

export interface Token {
  readonly kind: TokenKind;
  readonly text: string;
}

export interface Line {
  readonly depth: number;
  readonly tokens: readonly Token[];
}

export interface Layout {
  readonly lines: readonly Line[];
  /** Lines ran out at the limit: the text goes on. */
  readonly cut: boolean;
}

const token = /\s*(?:("[^"\\]*(?:\\.[^"\\]*)*")|(-?\d[\d.eE+-]*)|(true|false|null)|([{}[\],:]))/suy;

/**
 * Sets JSON text one value per line. It goes over the text and never through values, so that numbers keep every
 * digit and repeated keys all show. Text that is not JSON gives `undefined`.
 */
export function layout(text: string, maxLines: number): Layout | undefined {
  const lines: { depth: number; tokens: Token[] }[] = [{ depth: 0, tokens: [] }];
  const pattern = new RegExp(token);
  let depth = 0;
  const end = text.trimEnd().length;
  for (let at = 0; at < end; at = pattern.lastIndex) {
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (match === null) return undefined;
    if (lines.length > maxLines) return { lines: lines.slice(0, maxLines), cut: true };
    const [, string, number, literal, mark] = match;
    const last = () => lines[lines.length - 1]?.tokens ?? [];
    const newLine = () => lines.push({ depth, tokens: [] });
    if (string !== undefined) last().push({ kind: followedByColon(text, pattern.lastIndex) ? "key" : "string", text: string });
    else if (number !== undefined) last().push({ kind: "number", text: number });
    else if (literal !== undefined) last().push({ kind: "literal", text: literal });
    else if (mark === "{" || mark === "[") {
      last().push({ kind: "punctuation", text: mark });
      const close = emptyUntil(text, pattern.lastIndex, mark === "{" ? "}" : "]");
      if (close !== undefined) {
        last().push({ kind: "punctuation", text: mark === "{" ? "}" : "]" });
        pattern.lastIndex = close;
      } else {
        depth += 1;
        newLine();
      }
    } else if (mark === "}" || mark === "]") {
      if (depth === 0) return undefined;
      depth -= 1;
      newLine();
      last().push({ kind: "punctuation", text: mark });
    } else if (mark === ",") {
      last().push({ kind: "punctuation", text: mark });
      newLine();
    } else {
      last().push({ kind: "punctuation", text: ": " });
    }
  }
  return depth === 0 ? { lines, cut: false } : undefined;
}

function followedByColon(text: string, at: number): boolean {
  const next = nonSpace(text, at);
  return text[next] === ":";
}

/** Where the text goes on after an empty object or array, if it is one. */
function emptyUntil(text: string, at: number, close: string): number | undefined {
  const next = nonSpace(text, at);
  return text[next] === close ? next + 1 : undefined;
}

function nonSpace(text: string, at: number): number {
  let next = at;
  while (next < text.length && " \t\n\r".includes(text[next] ?? "")) next += 1;
  return next;
}
