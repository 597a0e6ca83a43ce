import { expect, test } from "vitest";
import { emptyQuery } from "./query";
import { refined } from "./refine";

const filterOf = (path: (string | number)[], json: string, exclude = false, filter = "a || b") => refined({ ...emptyQuery, filter }, undefined, path, json, exclude, "type").query.filter;

test("a row of the form is added, and another value of the same field gives way", () => {
  const rows = [{ field: "platform", operator: "is", value: "desktop" }, { field: "n", operator: ">", value: "1" }] as const;
  expect(refined(emptyQuery, rows, ["platform"], '"mobile"', false, "type").conditions).toEqual([rows[1], { field: "platform", operator: "is", value: "mobile" }]);
  expect(refined(emptyQuery, rows, ["platform"], '"mobile"', true, "type").conditions).toEqual([...rows, { field: "platform", operator: "isNot", value: "mobile" }]);
});

test("the event's type is chosen among the types", () => {
  expect(refined(emptyQuery, [], ["type"], '"cart"', false, "type").query.eventTypes).toEqual(["cart"]);
  expect(refined(emptyQuery, [], ["type"], '"a,b"', false, "type").conditions).toEqual([{ field: "type", operator: "is", value: "a,b" }]);
});

test("a filter that rows cannot say is joined as it is", () => {
  expect(filterOf(["n"], "12345678901234567890")).toBe("(a || b) && event.n == 12345678901234567890u");
  expect(filterOf(["p", "q"], "null", true)).toBe("(a || b) && (!has(event.p) || !has(event.p.q) || event.p.q != null)");
});

test("of a list any element counts", () => {
  expect(filterOf(["items", 3, "tags", 0], '"sea"', false, "")).toBe('event.items.exists(item, item.tags.exists(item2, item2 == "sea"))');
  expect(filterOf(["items", 0, "sku"], '"x"', true, "")).toBe('(!has(event.items) || !event.items.exists(item, item.sku == "x"))');
});
