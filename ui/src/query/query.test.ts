import { describe as group, expect, test } from "vitest";
import { describe, emptyQuery, fitsInList, fromSearch, sameQuery, subscribeFrame, toSearch } from "./query";

group("the URL", () => {
  test("a query survives the way through the URL", () => {
    const query = {
      ...emptyQuery,
      eventTypes: ["add_to_cart", "purchase"],
      filter: 'event.platform == "mobile" && event.page.contains("a&b=c")',
      fields: "type,user_id",
      rate: "0",
    };
    expect(fromSearch(toSearch(query, ""))).toEqual(query);
  });

  test("parameters of others stay, those of a query before it go", () => {
    expect(toSearch({ ...emptyQuery, filter: "true" }, "?transport=sockjs&filter=false&rate=5")).toBe(
      "?transport=sockjs&filter=true",
    );
  });

  test("a standing query is named by `query` and carries no filter", () => {
    expect(toSearch({ ...emptyQuery, standing: "shop/checkout", filter: "true" }, "")).toBe("?query=shop%2Fcheckout");
    expect(fromSearch("?query=shop/checkout").standing).toBe("shop/checkout");
  });

  test("repeated and empty event types are dropped", () => {
    expect(fromSearch("?event-types=a,,%20b%20,a").eventTypes).toEqual(["a", "b"]);
  });

  test("a broken percent sign is text, not an error", () => {
    expect(fromSearch("?filter=%E0%A4%A&rate=lots").rate).toBe("lots");
  });

  test("nothing asked is no parameter at all", () => {
    expect(toSearch(emptyQuery, "")).toBe("");
  });
});

group("the SUBSCRIBE frame", () => {
  test("carries the headers by their names", () => {
    expect(subscribeFrame({ ...emptyQuery, eventTypes: ["a", "b"], filter: " x ", fields: "a,b", rate: "5" })).toEqual({
      destination: "/live",
      headers: { "on-error": "message", "event-types": "a,b", filter: "x", fields: "a,b", rate: "5" },
    });
  });

  test("asks for everything when nothing is chosen", () => {
    expect(subscribeFrame(emptyQuery).headers).toEqual({ "on-error": "message", filter: "true" });
  });

  test("holds no NUL, which would end it", () => {
    const frame = subscribeFrame({ ...emptyQuery, filter: "a\0\n\nSEND", fields: "\0", eventTypes: ["\0"] });
    expect(JSON.stringify(frame)).not.toContain("\\u0000");
    expect(subscribeFrame({ ...emptyQuery, standing: "a/\0" }).destination).toBe("/queries/a/\uFFFD");
  });

  test("joins a standing query at its destination, without a filter", () => {
    expect(subscribeFrame({ ...emptyQuery, standing: "shop/checkout", filter: "x", rate: "5" })).toEqual({
      destination: "/queries/shop/checkout",
      headers: { "on-error": "message", rate: "5" },
    });
  });
});

test("a name with a comma or outer spaces does not fit in the list", () => {
  expect(["a", "a b", "a,b", " a", ""].map(fitsInList)).toEqual([true, true, false, false, false]);
});

test("equal queries are equal whatever their outer spaces", () => {
  expect(sameQuery({ ...emptyQuery, filter: " x " }, { ...emptyQuery, filter: "x" })).toBe(true);
  expect(sameQuery({ ...emptyQuery, filter: "y" }, { ...emptyQuery, filter: "x" })).toBe(false);
});

test("a query is described in a few words", () => {
  expect(describe(emptyQuery)).toBe("every event");
  expect(describe({ ...emptyQuery, eventTypes: ["a", "b"], filter: "x" })).toBe("a, b and x");
  expect(describe({ ...emptyQuery, standing: "shop/checkout" })).toBe("shop/checkout");
});
