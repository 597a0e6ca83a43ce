const hues = 10;

/** A class that gives equal names an equal colour; an aid to the eye, never the only sign. */
export function hue(name: string): string {
  let hash = 0;
  for (let index = 0; index < name.length; index += 1) hash = (hash * 31 + name.charCodeAt(index)) >>> 0;
  return `hue-${hash % hues}`;
}
