/** The parts of the handler's HTTP API that this page uses, by short names. */
import type { components } from "./schema";

type Schemas = components["schemas"];

export type EventType = Readonly<Schemas["EventType"]>;
export type Field = Readonly<Schemas["Field"]>;
export type ListedQuery = Readonly<Schemas["Listed"]>;
/** What the server says of a filter that it accepts. */
export type Checked = Readonly<Schemas["Checked"]>;
/** RFC 9457; `offset` and `length` are the place in a filter, in bytes of UTF-8. */
export type Problem = Readonly<Schemas["Problem"]>;
export type Pipeline = Readonly<Pick<Schemas["Pipeline"], "pipeline" | "eventTypeField" | "userField" | "defaultRate">>;
/** How a filter came to its result on one event. */
export type Explanation = Readonly<Schemas["Explanation"]>;
/** One clause of it, with its value and what it is made of. */
export type Explained = Readonly<Schemas["Explained"]>;
