// Writes cel-spec.toml: the "simple" conformance tests of the CEL specification as filters.
//
//   npm pack @bufbuild/cel-spec@0.6.1 && tar xzf bufbuild-cel-spec-0.6.1.tgz
//   node cel-spec.mjs package > cel-spec.toml
//
// A test with a value becomes `(<expression>) == <value>`, which has to match; one with an error has to end in
// an error, or to be refused for its kinds. Bindings become macro variables: `[<value>].map(x, <expression>)[0]`.

import { pathToFileURL } from "node:url";
import { resolve } from "node:path";

const source = resolve(process.argv[2], "dist/esm/testdata/conformance.js");
const { tests } = await import(pathToFileURL(source));

const EXTENSIONS = {
  bindings_ext: "extension library: bindings",
  block_ext: "extension library: block",
  encoders_ext: "extension library: encoders",
  macros2: "extension library: two-variable comprehensions",
  math_ext: "extension library: math",
  optionals: "extension library: optionals",
  proto2_ext: "extension library: proto2",
  string_ext: "extension library: strings",
};

const bytes = (base64) =>
  `b"${[...Buffer.from(base64, "base64")].map((b) => `\\x${b.toString(16).padStart(2, "0")}`).join("")}"`;

function double(value) {
  if (value === "NaN") return "(0.0 / 0.0)";
  if (value === "Infinity") return "(1.0 / 0.0)";
  if (value === "-Infinity") return "(-1.0 / 0.0)";
  const text = Object.is(value, -0) ? "-0.0" : String(value);
  return /[.e]/.test(text) ? text : `${text}.0`;
}

/** The CEL text of a value, or null if the filter language has none. */
function literal(value) {
  const [[kind, v]] = Object.entries(value);
  switch (kind) {
    case "nullValue":
      return "null";
    case "boolValue":
      return String(v);
    case "int64Value":
      return String(v);
    case "uint64Value":
      return `${v}u`;
    case "doubleValue":
      return double(v);
    case "stringValue":
      return JSON.stringify(v);
    case "bytesValue":
      return bytes(v);
    case "typeValue":
      return v;
    case "listValue": {
      const items = (v.values ?? []).map(literal);
      return items.includes(null) ? null : `[${items.join(", ")}]`;
    }
    case "mapValue": {
      const entries = (v.entries ?? []).map((e) => [literal(e.key), literal(e.value)]);
      return entries.flat().includes(null) ? null : `{${entries.map((e) => e.join(": ")).join(", ")}}`;
    }
    case "objectValue":
      switch (v["@type"]) {
        case "type.googleapis.com/google.protobuf.Duration":
          return `duration(${JSON.stringify(v.value)})`;
        case "type.googleapis.com/google.protobuf.Timestamp":
          return `timestamp(${JSON.stringify(v.value)})`;
      }
  }
  return null;
}

/** {filter, expect} or {skip}. */
function convert(suite, test) {
  if (EXTENSIONS[suite]) return { skip: EXTENSIONS[suite] };
  if (test.checkOnly) return { skip: "types deduced by a checker with declarations" };
  if (test.container) return { skip: "names resolved in a container" };
  if (/TestAllTypes|GlobalEnum|\b[A-Z]\w*\s*\{/.test(test.expr)) return { skip: "protocol buffer messages" };
  if (test.expr.includes(".?") || test.expr.includes("optional.")) return { skip: "extension library: optionals" };
  if (test.name === "unbound_is_runtime_error" || suite === "parse" && /^a\.\w+\(\) \|\| true$/.test(test.expr))
    return { skip: "undeclared names, which are refused when a filter is parsed" };
  let expr = test.expr;
  let body = `(${expr})`;
  for (const [name, bound] of Object.entries(test.bindings ?? {})) {
    if (/^(true|false|null)$/.test(name)) continue;
    if (name.includes(".")) return { skip: "variables with dots in their names" };
    const value = literal(bound.value);
    if (value === null) return { skip: "protocol buffer messages" };
    body = `[${value}].map(${name}, ${expr})[0]`;
  }
  if (test.evalError) return { filter: `${body} == null`, expect: "error" };
  const wanted = test.value ?? test.typedResult?.result;
  if (!wanted) return { filter: `${body} == true`, expect: "match" };
  const value = literal(wanted);
  if (value === null) return { skip: "protocol buffer messages" };
  if (value === "(0.0 / 0.0)") return { filter: `${body} != ${body}`, expect: "match" };
  return { filter: `${body} == ${value}`, expect: "match" };
}

const cases = [];
const skipped = new Map();
function walk(node, path) {
  for (const { original } of node.tests ?? []) {
    const suite = path[0];
    const name = [...path, original.name].join("/");
    const converted = convert(suite, original);
    if (converted.skip) {
      if (!skipped.has(converted.skip)) skipped.set(converted.skip, []);
      skipped.get(converted.skip).push(name);
    } else {
      cases.push({ name, ...converted });
    }
  }
  for (const child of node.suites ?? []) walk(child, [...path, child.name]);
}
walk(tests, []);

const string = (s) => JSON.stringify(s).replace(/\u007f/g, "\\u007f");
console.log(`# Written by cel-spec.mjs from @bufbuild/cel-spec 0.6.1 (cel-spec v0.25.1); do not edit.
# Copyright 2023 Google LLC, 2024-2026 Buf Technologies, Inc. Licensed under the Apache License, Version 2.0.
`);
for (const { name, filter, expect } of cases) {
  console.log(`[[case]]\nname = ${string(name)}\nfilter = ${string(filter)}\nexpect = "${expect}"\n`);
}
for (const [reason, names] of skipped) {
  console.log(`[[skipped]]\nreason = ${string(reason)}\nnames = [\n${names.map((n) => `  ${string(n)},`).join("\n")}\n]\n`);
}
