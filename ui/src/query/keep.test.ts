import { expect, test } from "vitest";
import { curlLine, objectName, standingYaml, tailLine, wholeFilter } from "./keep";
import { emptyQuery } from "./query";

const query = { ...emptyQuery, eventTypes: ["cart", "purchase"], filter: "event.a == 'it''s' || event.b > 1", fields: "type,`a b`", rate: "5" };

test("event types and filter become one filter", () => {
  expect(wholeFilter(query, "type")).toBe(`event.type in ["cart", "purchase"] && (event.a == 'it''s' || event.b > 1)`);
  expect(wholeFilter({ ...emptyQuery, eventTypes: ["a"], filter: 'event.b == "c"' }, "kind.name")).toBe('event.kind.name == "a" && event.b == "c"');
  expect(wholeFilter(emptyQuery, "type")).toBe("true");
});

test("a standing query is an object for kubectl", () => {
  expect(standingYaml({ ...query, filter: `event.a == "it's"` }, { pipeline: "shop/web", eventTypeField: "type" })).toBe(`apiVersion: clickstream.dev/v1alpha1
kind: ClickstreamQuery
metadata:
  name: cart-purchase-it-s
spec:
  pipelineRef:
    name: web
    namespace: shop
  filter: 'event.type in ["cart", "purchase"] && event.a == "it''s"'
  fields:
    - type
    - '\`a b\`'
  rate: 5
`);
  expect(standingYaml({ ...emptyQuery, filter: "a\n||b" }, { pipeline: "no", eventTypeField: "type" })).toContain(`    name: 'no'\n  filter: "a\\n||b"\n`);
});

test("names are such as Kubernetes allows", () => {
  expect(objectName(emptyQuery)).toBe("all-events");
  expect(objectName({ ...emptyQuery, filter: `event.x == "${"Ä ö!".repeat(40)}zz"` })).toMatch(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/);
});

test("lines for a terminal hold whatever the query holds", () => {
  const line = curlLine({ ...emptyQuery, filter: `event.a == "it's & more"` }, "http://h:1");
  expect(line).toBe("curl -N 'http://h:1/api/v1/live?filter=event.a+%3D%3D+%22it%27s+%26+more%22'");
  expect(tailLine({ ...query, filter: "event.a == 'x'" }, "http://h:1")).toBe(
    "clickstream tail --url http://h:1 --event-types 'cart,purchase' --filter 'event.a == '\\''x'\\''' --fields 'type,`a b`' --rate '5'",
  );
  expect(tailLine({ ...emptyQuery, standing: "a/b" }, "http://h:1")).toBe("clickstream tail --url http://h:1 --query 'a/b'");
  expect(tailLine(emptyQuery, "http://h:1")).toContain("--filter 'true'");
});
