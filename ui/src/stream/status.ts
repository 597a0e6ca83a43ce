import type { Problem } from "../api/types";

/** The status messages of a subscription. Counts are totals since `live`; times are RFC 3339 UTC. */
export type Status =
  | { readonly status: "registered"; readonly query: string; readonly filter: string; readonly class: string; readonly expires: string }
  | { readonly status: "live"; readonly at: string; readonly partitions: number; readonly lagRecords: number }
  | Progress
  | { readonly status: "dropped"; readonly reason: "rate" | "slow"; readonly count: number }
  | Gap
  | { readonly status: "expiring"; readonly at: string }
  | Ended;

export interface Progress {
  readonly status: "progress";
  readonly scanned: number;
  readonly matched: number;
  readonly delivered: number;
  readonly leftOut: { readonly rate: number; readonly slow: number };
  readonly unreadable: number;
  readonly completeTo?: string;
  readonly lagRecords: number;
}

export interface Gap {
  readonly status: "gap";
  readonly reason: string;
  readonly ranges: readonly GapRange[];
}

/** Offsets `[from, to)` of a source partition. */
export interface GapRange {
  readonly topic: string;
  readonly partition: number;
  readonly from: number;
  readonly to: number;
}

export interface Ended {
  readonly status: "ended";
  readonly reason: string;
  readonly message: string;
  readonly error?: Problem;
}

const known = new Set(["registered", "live", "progress", "dropped", "gap", "expiring", "ended"]);

/** Refused for now only: the server has trouble of its own, and may take the same query in a moment. */
export function isTemporary(ended: Ended): boolean {
  return ended.reason === "refused" && (ended.error?.status ?? 0) >= 500;
}

/** One message of a subscription. `unknown` is of a newer server, or broken: it is passed over. */
export type Message =
  | { readonly kind: "event"; readonly source: string; readonly time: string; readonly body: string }
  | { readonly kind: "status"; readonly status: Status }
  | { readonly kind: "unknown" };

/** Reads a MESSAGE frame. The event's text is kept as it came: numbers stay exact, and nothing unseen is parsed. */
export function decode(headers: Readonly<Record<string, string | undefined>>, body: string): Message {
  if (headers["status"] === undefined) {
    return { kind: "event", source: headers["source"] ?? "", time: headers["time"] ?? "", body };
  }
  if (!known.has(headers["status"])) return { kind: "unknown" };
  try {
    const value: unknown = JSON.parse(body);
    if (typeof value !== "object" || value === null) return { kind: "unknown" };
    return { kind: "status", status: { ...value, status: headers["status"] } as Status };
  } catch {
    return { kind: "unknown" };
  }
}
