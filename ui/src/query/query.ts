import { toConditions } from "./form";

/**
 * What a viewer asks for. The names are those of the SUBSCRIBE headers, and the same in the page's URL,
 * so that a link is a query. Values are text as the user or the link wrote them: the server judges them.
 */
export interface Query {
  /** Names of event types; none = every type. */
  readonly eventTypes: readonly string[];
  /** CEL; blank = every event. */
  readonly filter: string;
  /** Comma-separated paths to send of each event; blank = the whole event. */
  readonly fields: string;
  /** Matches per second to send, `0` = no limit; blank = the server's default. */
  readonly rate: string;
  /** `<namespace>/<name>` of a standing query to join; its filter then counts, and ours does not. */
  readonly standing: string;
}

export const emptyQuery: Query = { eventTypes: [], filter: "", fields: "", rate: "", standing: "" };

/** Reads a query from the page's URL. Unknown parameters are left alone. */
export function fromSearch(search: string): Query {
  const parameters = new URLSearchParams(search);
  const text = (name: string) => parameters.get(name)?.trim() ?? "";
  return {
    eventTypes: [...new Set(splitList(text("event-types")))],
    filter: text("filter"),
    fields: text("fields"),
    rate: text("rate"),
    standing: text("query"),
  };
}

/** Writes `query` into `search`; parameters that are not a query's (such as `transport`) stay. */
export function toSearch(query: Query, search: string): string {
  const parameters = new URLSearchParams(search);
  for (const name of ["query", "event-types", "filter", "fields", "rate"]) {
    parameters.delete(name);
  }
  if (query.standing !== "") {
    parameters.set("query", query.standing);
  } else {
    if (query.eventTypes.length > 0) parameters.set("event-types", query.eventTypes.join(","));
    if (query.filter.trim() !== "") parameters.set("filter", query.filter.trim());
  }
  if (query.fields.trim() !== "") parameters.set("fields", query.fields.trim());
  if (query.rate !== "") parameters.set("rate", query.rate);
  const text = parameters.toString();
  return text === "" ? "" : `?${text}`;
}

/** The filter of `query` and the clause `added`, as text. */
export function joined(filter: string, added: string): string {
  const text = filter.trim();
  if (text === "" || text === "true") return added;
  return `${toConditions(text) === undefined ? `(${text})` : text} && ${added}`;
}

/** Whether the URL named something to watch; such a link starts by itself. */
export function asksForSomething(query: Query): boolean {
  return query.standing !== "" || query.eventTypes.length > 0 || query.filter !== "";
}

export interface Subscribe {
  readonly destination: string;
  readonly headers: Readonly<Record<string, string>>;
}

/**
 * The SUBSCRIBE frame for `query`; a refusal comes as a message, so that the connection stays.
 * STOMP ends a frame at NUL and has no way to write one, so those become a character that the server can refuse.
 */
export function subscribeFrame(query: Query): Subscribe {
  const { destination, headers } = frame(query);
  const safe = (text: string) => text.replaceAll("\0", "\uFFFD");
  return { destination: safe(destination), headers: Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, safe(value)])) };
}

function frame(query: Query): Subscribe {
  const headers: Record<string, string> = { "on-error": "message" };
  if (query.fields.trim() !== "") headers["fields"] = query.fields.trim();
  if (query.rate !== "") headers["rate"] = query.rate;
  if (query.standing !== "") {
    return { destination: `/queries/${query.standing}`, headers };
  }
  if (query.eventTypes.length > 0) headers["event-types"] = query.eventTypes.join(",");
  const filter = query.filter.trim();
  if (filter !== "") headers["filter"] = filter;
  // Neither given means everything, said in the one language the server has.
  if (filter === "" && query.eventTypes.length === 0) headers["filter"] = "true";
  return { destination: "/live", headers };
}

/** `event-types` is a comma-separated list, so a name with a comma can only be asked for by a filter. */
export function fitsInList(eventType: string): boolean {
  return eventType !== "" && !eventType.includes(",") && eventType.trim() === eventType;
}

export function sameQuery(a: Query, b: Query): boolean {
  return toSearch(a, "") === toSearch(b, "");
}

/** The query in a few words, for a heading. */
export function describe(query: Query): string {
  if (query.standing !== "") return query.standing;
  const parts: string[] = [];
  if (query.eventTypes.length > 0) parts.push(query.eventTypes.join(", "));
  if (query.filter.trim() !== "") parts.push(query.filter.trim());
  return parts.length === 0 ? "every event" : parts.join(" and ");
}

function splitList(text: string): string[] {
  return text
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "");
}
