/** A MESSAGE frame, as far as the page looks at it. */
export interface MessageFrame {
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: string;
}

/**
 * Reads what nearly every message of a stream is: one whole MESSAGE frame of STOMP 1.2. `undefined` for all else, which
 * is left to @stomp/stompjs: that one goes byte by byte and decodes every header by itself, so that at thousands of
 * frames a second the browser's collection of garbage stops the page for longer than a viewer waits.
 */
export function plainMessage(text: unknown): MessageFrame | undefined {
  if (typeof text !== "string" || !text.startsWith("MESSAGE\n")) return undefined;
  const end = text.indexOf("\n\n");
  if (end < 0 || text.indexOf("\0", end) !== text.length - 1) return undefined;
  const headers: Record<string, string> = {};
  for (const line of text.slice("MESSAGE\n".length, end).split("\n")) {
    const colon = line.indexOf(":");
    if (colon < 1 || /[\r\0]/.test(line)) return undefined;
    // Of a header that comes twice the first counts.
    headers[line.slice(0, colon)] ??= unescaped(line.slice(colon + 1));
  }
  return { headers, body: own(text.slice(end + 2, -1)) };
}

const escapes: Readonly<Record<string, string>> = { "\\n": "\n", "\\r": "\r", "\\c": ":", "\\\\": "\\" };

function unescaped(text: string): string {
  return own(text.includes("\\") ? text.replace(/\\[nrc\\]/g, (escape) => escapes[escape] ?? escape) : text);
}

/** The same text in JavaScript's own heap: a part keeps all of the browser's text alive, which lies outside of it. */
function own(text: string): string {
  return ` ${text}`.slice(1);
}
