import { positionOf, type EventRow } from "../store/rows";
import type { Checked, EventType, Explanation, Field, ListedQuery, Pipeline, Problem } from "./types";

/** The answer to a check: accepted, refused with a position, or no answer to rely on. */
export type CheckAnswer =
  | { readonly kind: "valid"; readonly checked: Checked }
  | { readonly kind: "invalid"; readonly problem: Problem }
  | { readonly kind: "unknown" };

/** Why a filter matches an event, or does not. */
export type ExplainAnswer =
  | { readonly kind: "explained"; readonly explanation: Explanation }
  | { readonly kind: "refused"; readonly problem: Problem }
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

/** Holds an event against a filter, clause by clause. The event goes as it came, to the digit. */
export async function explain(filter: string, event: EventRow): Promise<ExplainAnswer> {
  const { topic, partition, offset } = positionOf(event);
  const record = JSON.stringify({ topic, partition: Number(partition), offset: Number(offset), timestamp: event.time });
  const answer = await post<Explanation>("/api/v1/filters/explain", `{"filter":${JSON.stringify(filter)},"event":${event.body},"record":${record}}`);
  if (answer.kind === "ok") return { kind: "explained", explanation: answer.value };
  return answer;
}

/** Asks the server what it thinks of a filter; a server that cannot say is not the filter's fault. */
export async function checkFilter(filter: string): Promise<CheckAnswer> {
  const answer = await post<Checked>("/api/v1/filters/check", JSON.stringify({ filter }));
  if (answer.kind === "ok") return { kind: "valid", checked: answer.value };
  return answer.kind === "refused" ? { kind: "invalid", problem: answer.problem } : answer;
}

type Posted<T> = { readonly kind: "ok"; readonly value: T } | { readonly kind: "refused"; readonly problem: Problem } | { readonly kind: "unknown" };

async function post<T>(path: string, body: string): Promise<Posted<T>> {
  try {
    const response = await fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
      signal: AbortSignal.timeout(requestTimeout),
    });
    if (response.ok) return { kind: "ok", value: (await response.json()) as T };
    if (response.status >= 400 && response.status < 500) return { kind: "refused", problem: (await response.json()) as Problem };
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
