/** Part of a text in UTF-16 code units, as the browser counts. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** Turns the server's position (bytes of UTF-8) into one in `text`; positions past the end give the end. */
export function spanOfBytes(text: string, offset: number, length: number): Span {
  return { start: unitsBefore(text, offset), end: unitsBefore(text, offset + Math.max(length, 1)) };
}

function unitsBefore(text: string, bytes: number): number {
  let seen = 0;
  let units = 0;
  for (const character of text) {
    seen += utf8Length(character.codePointAt(0) ?? 0);
    if (seen > bytes) return units;
    units += character.length;
  }
  return units;
}

function utf8Length(codePoint: number): number {
  if (codePoint < 0x80) return 1;
  if (codePoint < 0x800) return 2;
  return codePoint < 0x10000 ? 3 : 4;
}
