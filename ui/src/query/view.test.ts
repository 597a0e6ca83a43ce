import { expect, test } from "vitest";
import { columnField, columnLabel, moved, usualView, viewFrom, withView } from "./view";

test("a view survives the way through the URL, beside the query", () => {
  const view = { ...usualView, columns: ["record.timestamp", "event.`a,b`.c", "event"], newest: "bottom", time: "utc", top: "page.path" } as const;
  const search = withView(view, "?filter=true&time=local");
  expect(search).toContain("filter=true");
  expect(viewFrom(search, usualView)).toEqual(view);
});

test("what is usual is not in the URL, and what the URL does not say is as remembered", () => {
  expect(withView(usualView, "?filter=x&columns=a")).toBe("?filter=x");
  const remembered = { ...usualView, newest: "bottom", widths: { event: 300 } } as const;
  expect(viewFrom("?time=utc", remembered)).toEqual({ ...remembered, time: "utc" });
});

test("a hostile URL asks for nothing that cannot be shown", () => {
  const view = viewFrom(`?columns=${Array.from({ length: 500 }, (_, index) => `event.f${index}`).join()}&newest=left&time=%00`, usualView);
  expect(view.columns).toHaveLength(40);
  expect([view.newest, view.time]).toEqual(["top", "local"]);
  expect(viewFrom("?columns=,,%60,", usualView).columns).toBeUndefined();
});

test("columns move and are named", () => {
  expect(moved(["a", "b", "c"], "a", "c")).toEqual(["b", "c", "a"]);
  expect(moved(["a", "b", "c"], "c", "a")).toEqual(["c", "a", "b"]);
  expect(moved(["a"], "x", "a")).toEqual(["a"]);
  expect(columnField("event.page.path")).toEqual(["page", "path"]);
  expect(columnField("event")).toBeUndefined();
  expect(columnLabel("event.page.path")).toBe("page.path");
});
