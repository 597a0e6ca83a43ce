import { describe, expect, test } from "vitest";
import { literal, toConditions, toFilter, typed, type Condition } from "./form";

const is = (field: string, value: string, operator: Condition["operator"] = "is"): Condition => ({ field, operator, value });

describe("rows become a filter and come back from it", () => {
  const both: readonly (readonly [string, readonly Condition[]])[] = [
    ["", []],
    ['event.platform == "mobile"', [is("platform", "mobile")]],
    ['event.type == "a" && event.page.path.startsWith("/x && y")', [is("type", "a"), is("page.path", "/x && y", "startsWith")]],
    ["event.n == 12345678901234567890u", [is("n", "12345678901234567890")]],
    ["event.n >= -1.5e3 && event.on == true && event.off == null", [is("n", "-1.5e3", ">="), is("on", "true"), is("off", "null")]],
    ['event.n == "12"', [is("n", '"12"')]],
    ['event["user-agent"].contains("a\\"b")', [is("user-agent", 'a"b', "contains")]],
    ['event["in"] == "x"', [is("in", "x")]],
    ["has(event.page.title)", [is("page.title", "", "exists")]],
    ['(!has(event.a) || !has(event.a.b) || event.a.b != "|| x")', [is("a.b", "|| x", "isNot")]],
    ['(!("user-agent" in event) || event["user-agent"] != 1)', [is("user-agent", "1", "isNot")]],
  ];
  for (const [filter, conditions] of both) {
    test(filter === "" ? "nothing" : filter, () => {
      expect(toFilter(conditions)).toBe(filter);
      expect(toConditions(filter)).toEqual(conditions);
    });
  }
});

test("spaces and quotes may be others", () => {
  expect(toConditions(" event.a=='x'  &&\n event.b>1 ")).toEqual([is("a", "x"), is("b", "1", ">")]);
  expect(toConditions('( !has(event.a)||event.a!="x" )')).toEqual([is("a", "x", "isNot")]);
});

test("what rows cannot say is not said", () => {
  for (const filter of [
    'event.a == "x" || event.b == "y"',
    '!(event.a == "x")',
    'event.a != "x"',
    "event.items[0].sku == 1",
    'record.topic == "x"',
    'event.a == event.b',
    'event.a == "x" &&',
    'event.a in ["x"]',
    '(!has(event.a) || event.b != "x")',
    'event.a == r"x"',
    'event.a == "\\x41"',
    "event",
    "true",
    'event.a == "',
  ]) {
    expect(toConditions(filter), filter).toBeUndefined();
  }
});

test("rows that say nothing yet are no part of the filter", () => {
  expect(toFilter([is("", "x"), is("a", ""), is("a", "", "exists"), is(" b ", "1")])).toBe("has(event.a) && event.b == 1");
});

test("what is typed is what it looks like, and quotes make text of anything", () => {
  expect(["5", "1e5", "true", "null", "x", '"5"', '"', "01", " ", "18446744073709551616"].map(literal)).toEqual([
    "5", "1e5", "true", "null", '"x"', '"5"', '"\\""', '"01"', '" "', "18446744073709551616.0",
  ]);
  for (const json of ['"5"', '"x"', '"\\"5\\""', "5", "true", '"null"', '""']) expect(literal(typed(json))).toBe(json);
});
