/** The query in the words of other tools: CEL alone, Kubernetes, a terminal. */
import { celPath, readFieldPath, splitPaths } from "../json/path";
import { toConditions } from "./form";
import type { Query } from "./query";

/** The whole query as one filter, event types included. */
export function wholeFilter(query: Query, eventTypeField: string): string {
  const filter = query.filter.trim();
  const parts: string[] = [];
  if (query.eventTypes.length > 0) {
    const access = celPath(readFieldPath(eventTypeField));
    const [first, ...more] = query.eventTypes.map((name) => JSON.stringify(name));
    parts.push(more.length === 0 ? `${access} == ${first}` : `${access} in [${[first, ...more].join(", ")}]`);
  }
  // Rows of the form are joined by `&&`, which needs no parentheses among its like.
  if (filter !== "") parts.push(parts.length === 0 || toConditions(filter) !== undefined ? filter : `(${filter})`);
  return parts.length === 0 ? "true" : parts.join(" && ");
}

/** A name for the object, as Kubernetes allows one. */
export function objectName(query: Query): string {
  const words = [...query.eventTypes, ...[...query.filter.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, text]) => text ?? "")];
  const name = words
    .join("-")
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .slice(0, 50)
    .replace(/^-+|-+$/g, "");
  return name === "" ? "all-events" : name;
}

/** A ClickstreamQuery for `kubectl apply -f -`. On Kubernetes a pipeline is named `<namespace>/<name>`. */
export function standingYaml(query: Query, pipeline: { readonly pipeline: string; readonly eventTypeField: string }, name = objectName(query)): string {
  const [namespace, pipelineName] = pipeline.pipeline.includes("/") ? pipeline.pipeline.split("/", 2) : [undefined, pipeline.pipeline];
  const fields = splitPaths(query.fields);
  return [
    "apiVersion: clickstream.dev/v1alpha1",
    "kind: ClickstreamQuery",
    "metadata:",
    `  name: ${name}`,
    "spec:",
    "  pipelineRef:",
    `    name: ${scalar(pipelineName ?? "")}`,
    ...(namespace === undefined ? [] : [`    namespace: ${scalar(namespace)}`]),
    `  filter: ${scalar(wholeFilter(query, pipeline.eventTypeField))}`,
    ...(fields.length === 0 ? [] : ["  fields:", ...fields.map((path) => `    - ${scalar(path)}`)]),
    ...(/^\d+$/.test(query.rate) ? [`  rate: ${query.rate}`] : []),
    "",
  ].join("\n");
}

/** In single quotes, which leave the filter's own alone; what no line can hold in the escapes of JSON. */
function scalar(text: string): string {
  if (/^[A-Za-z][A-Za-z0-9_./-]*$/.test(text) && !/^(?:true|false|null|yes|no|on|off|y|n)$/i.test(text)) return text;
  return /[\u0000-\u001f\u007f-\u009f\u2028\u2029\ufeff]/.test(text) ? escaped(text) : `'${text.replaceAll("'", "''")}'`;
}

function escaped(text: string): string {
  return JSON.stringify(text).replace(/[\u007f-\u009f\u2028\u2029\ufeff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** The query as parameters, named as the SUBSCRIBE headers. */
function parameters(query: Query): readonly (readonly [string, string])[] {
  const own: readonly (readonly [string, string])[] =
    query.standing !== ""
      ? [["query", query.standing]]
      : [
          ["event-types", query.eventTypes.join(",")],
          ["filter", query.filter.trim() === "" && query.eventTypes.length === 0 ? "true" : query.filter.trim()],
        ];
  return [...own, ["fields", query.fields.trim()] as const, ["rate", query.rate] as const].filter(([, value]) => value !== "");
}

export function curlLine(query: Query, origin: string): string {
  return `curl -N ${quoted(`${origin}/api/v1/live?${new URLSearchParams(parameters(query).map(([name, value]) => [name, value])).toString()}`)}`;
}

export function tailLine(query: Query, origin: string): string {
  return ["clickstream tail", `--url ${origin}`, ...parameters(query).map(([name, value]) => `--${name} ${quoted(value)}`)].join(" ");
}

/** For a POSIX shell. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
