import type { EventType, Field } from "../api/types";

/** A filter to try, made of what the stream really contains. */
export interface Example {
  readonly title: string;
  readonly filter: string;
}

/**
 * Offers up to three filters to someone who has never written one: one type, one field value, both.
 * Fields that identify (nearly every example differs) make poor filters, so only those with few values are taken.
 */
export function examples(types: readonly EventType[], fields: readonly Field[], typeField: string): Example[] {
  const offered: Example[] = [];
  // One below the busiest, so that matches come soon but not in a flood.
  const byRate = [...types].sort((a, b) => b.perSecond - a.perSecond);
  const type = byRate[Math.min(5, byRate.length - 1)];
  const ofType = type && access(typeField) && `${access(typeField)} == ${JSON.stringify(type.name)}`;
  if (type && ofType) offered.push({ title: `Only ${type.name}`, filter: ofType });

  const field = fields.find(
    ({ path, kinds, examples }) =>
      path !== typeField && access(path) !== undefined && examples.length >= 2 && examples.length <= 6 && kinds.every((kind) => kind === "string"),
  );
  // The catalogue gives values as JSON, and a JSON string is a CEL string.
  const value = field?.examples[0];
  if (field && value !== undefined) {
    const ofField = `${access(field.path)} == ${value}`;
    offered.push({ title: `${field.path} is ${value}`, filter: ofField });
    if (type && ofType) offered.push({ title: "Both", filter: `${ofType} && ${ofField}` });
  }
  return offered;
}

/** The path as CEL can select it; a name that is no identifier has no such form. */
function access(path: string): string | undefined {
  return path.split(".").every((part) => /^[A-Za-z_][A-Za-z0-9_]*$/.test(part)) ? `event.${path}` : undefined;
}

