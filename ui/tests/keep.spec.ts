import { readFileSync } from "node:fs";
import { expect, test } from "./clickstream";

test("a saved view brings back query, columns and view", async ({ clickstream, page }) => {
  await clickstream.open("?event-types=search&filter=event.platform+%3D%3D+%22mobile%22&columns=record.timestamp,event.platform&newest=bottom&time=utc&top=platform");
  await clickstream.live();
  await clickstream.button("Keep").click();
  await page.getByRole("textbox", { name: "Name of the view" }).fill("mobile searches");
  await clickstream.dialog("Keep this query").getByRole("button", { name: "Save" }).click();
  await expect(page.getByText("Saved as mobile searches.")).toBeVisible();
  const search = new URL(page.url()).search;

  await page.goto("/");
  await clickstream.button("Saved").click();
  await page.getByRole("button", { name: "mobile searches", exact: true }).click();
  await clickstream.live();
  expect(new URL(page.url()).search).toBe(search);
  await expect(clickstream.filter).toHaveText('event.platform == "mobile"');
  await expect(clickstream.eventType("search")).toBeChecked();
  await expect(page.getByRole("columnheader")).toHaveText(["Time", "platform"]);

  await clickstream.button("Saved").click();
  await page.getByRole("button", { name: "Forget mobile searches" }).click();
  await expect(page.getByRole("button", { name: "mobile searches", exact: true })).toBeHidden();
});

test("the query is kept as a standing query, a link, and lines for a terminal that work", async ({ clickstream, page, request, baseURL }) => {
  await clickstream.open();
  await clickstream.eventType("purchase").check();
  await clickstream.filter.fill(`event.platform == 'mobile' || event.user_id == "it's"`);
  await clickstream.button("Keep").click();
  const dialog = clickstream.dialog("Keep this query");
  const yaml = await dialog.getByRole("region", { name: "Keep as standing query" }).locator("pre").innerText();
  expect(yaml).toContain("apiVersion: clickstream.dev/v1alpha1\nkind: ClickstreamQuery\n");
  const filter = /^ {2}filter: '(.*)'$/m.exec(yaml)?.[1]?.replaceAll("''", "'") ?? "";
  expect(filter).toBe(`event.type == "purchase" && (event.platform == 'mobile' || event.user_id == "it's")`);
  // The server takes it for what the form says.
  const checked = await request.post("/api/v1/filters/check", { data: { filter } });
  expect(checked.status()).toBe(200);
  expect(await dialog.getByRole("region", { name: "In a terminal" }).locator("pre").innerText()).toContain(`clickstream tail --url ${new URL(baseURL ?? "").origin} --event-types 'purchase' --filter '`);

  const curl = await dialog.getByRole("region", { name: "With curl" }).locator("pre").innerText();
  const url = /'(http[^']*)'/.exec(curl)?.[1] ?? "";
  const abort = new AbortController();
  const answer = await fetch(url, { signal: abort.signal });
  const first = new TextDecoder().decode((await answer.body?.getReader().read())?.value);
  expect(first).toContain('"status":"registered"');
  abort.abort();
  const link = await dialog.getByRole("region", { name: "Link" }).locator("pre").innerText();
  await page.goto(link);
  await clickstream.live();
});

test("what is shown is exported, every event as it came", async ({ clickstream, page }) => {
  await clickstream.open("?event-types=search,catalog");
  await expect.poll(() => clickstream.counter("shown")).toBeGreaterThan(20);
  await clickstream.button("Pause").click();
  const sources = await clickstream.sources();
  await clickstream.button("Keep").click();
  const file = async (name: string) => {
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name }).click()]);
    return [download.suggestedFilename(), readFileSync(await download.path(), "utf8")] as const;
  };
  const [ndjsonName, ndjson] = await file("NDJSON");
  expect(ndjsonName).toBe("events.ndjson");
  const events = ndjson.trimEnd().split("\n").map((line) => JSON.parse(line) as { type: string });
  expect(events.length).toBeGreaterThan(20);
  expect(new Set(events.map(({ type }) => type))).toEqual(new Set(["search", "catalog"]));
  const [csvName, csv] = await file("CSV");
  expect(csvName).toBe("events.csv");
  const lines = csv.trimEnd().split("\r\n");
  expect(lines[0]).toBe("Time,type,user_id,source,event");
  expect(lines.length).toBe(events.length + 1);
  for (const source of sources) expect(csv).toContain(`,${source},`);
});

test("standing queries are listed and opened", async ({ clickstream, page }) => {
  // The list is the handler's; a standing query needs an operator, which this system may not have.
  await page.route("**/api/v1/queries", async (route) => {
    const answer = await route.fetch();
    const { items } = (await answer.json()) as { items: object[] };
    const standing = { id: "0".repeat(32), kind: "standing", namespace: "shop", name: "checkout", filter: 'event.type == "checkout"', subscribers: 2 };
    await route.fulfill({ json: { items: [...items, standing] } });
  });
  await clickstream.open("?event-types=search");
  await clickstream.live();
  await clickstream.button("Saved").click();
  const listed = page.getByRole("region", { name: "Standing queries" });
  await expect(listed).toContainText('event.type == "checkout"');
  await expect(listed).toContainText("2 viewers");
  // Queries of single viewers, such as this one's, are not offered to others.
  await expect(listed).not.toContainText("search");
  await listed.getByRole("button", { name: "shop/checkout" }).click();
  await expect(page.getByText("Standing query", { exact: true })).toBeVisible();
  expect(new URL(page.url()).searchParams.get("query")).toBe("shop/checkout");
  await expect(clickstream.situation).toHaveAttribute("data-phase", "ended");
});
