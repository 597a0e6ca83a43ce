import type { Checked, EventType, Field, ListedQuery, Pipeline, Problem } from "./types";

/** The answer to a check: accepted, refused with a position, or no answer to rely on. */
export type CheckAnswer =
  | { readonly kind: "valid"; readonly checked: Checked }
  | { readonly kind: "invalid"; readonly problem: Problem }
  | { readonly kind: "unknown" };

const requestTimeout = 10_000;

export async function pipeline(): Promise<Pipeline> {
  return get<Pipeline>("/api/v1/pipeline");
}

export async function eventTypes(): Promise<readonly EventType[]> {
  return (await get<{ items: EventType[] }>("/api/v1/event-types")).items;
}

export async function fields(): Promise<readonly Field[]> {
  return (await get<{ items: Field[] }>("/api/v1/fields")).items;
}

export async function queries(): Promise<readonly ListedQuery[]> {
  return (await get<{ items: ListedQuery[] }>("/api/v1/queries")).items;
}

/** Asks the server what it thinks of a filter; a server that cannot say is not the filter's fault. */
export async function checkFilter(filter: string): Promise<CheckAnswer> {
  try {
    const response = await fetch("/api/v1/filters/check", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ filter }),
      signal: AbortSignal.timeout(requestTimeout),
    });
    if (response.ok) return { kind: "valid", checked: (await response.json()) as Checked };
    if (response.status === 422) return { kind: "invalid", problem: (await response.json()) as Problem };
    return { kind: "unknown" };
  } catch {
    return { kind: "unknown" };
  }
}

async function get<T>(path: string): Promise<T> {
  const response = await fetch(path, { signal: AbortSignal.timeout(requestTimeout) });
  if (!response.ok) throw new Error(`${path} answered ${response.status}`);
  return (await response.json()) as T;
}
