/** The handler's HTTP API as this page uses it. */

export interface EventType {
  readonly name: string;
  readonly perSecond: number;
  readonly lastSeen: string;
}

export interface Field {
  readonly path: string;
  readonly kinds: readonly string[];
  readonly examples: readonly unknown[];
}

export interface ListedQuery {
  readonly id: string;
  readonly kind: "live" | "standing";
  readonly namespace?: string;
  readonly name?: string;
  readonly filter: string;
  readonly subscribers: number;
}

/** What the server says of a filter it accepts. */
export interface Checked {
  readonly canonical: string;
  readonly query: string;
  readonly class: string;
  readonly reason: string;
}

/** RFC 9457, with the position of a filter's error in bytes of UTF-8. */
export interface Problem {
  readonly title: string;
  readonly status: number;
  readonly detail?: string;
  readonly offset?: number;
  readonly length?: number;
  readonly caret?: string;
  readonly suggestion?: string;
}

/** Names the fields that the list shows; dotted paths. */
export interface Pipeline {
  readonly pipeline: string;
  readonly eventTypeField: string;
  readonly userField: string;
}
