import { expect, test, type Clickstream } from "./clickstream";

test("columns are chosen, dragged, resized and remembered", async ({ clickstream, page }) => {
  await clickstream.open("?event-types=purchase,cart,search");
  await expect.poll(() => clickstream.rows.count()).toBeGreaterThan(1);
  await clickstream.button("Columns").click();
  const dialog = clickstream.dialog("Columns");
  await dialog.getByRole("checkbox", { name: "platform" }).check();
  await dialog.getByRole("checkbox", { name: "user_id" }).uncheck();
  await dialog.getByRole("button", { name: "Move platform left" }).click();
  await dialog.getByRole("button", { name: "Close" }).click();
  await expect.poll(() => headings(clickstream)).toEqual(["Time", "type", "platform", "Event"]);
  await expect(clickstream.rows.first().getByRole("gridcell").nth(2)).toHaveText(/mobile|desktop|tablet/);

  await heading(clickstream, "platform").dragTo(heading(clickstream, "Time"), { sourcePosition: { x: 10, y: 8 }, targetPosition: { x: 10, y: 8 } });
  await expect.poll(() => headings(clickstream)).toEqual(["platform", "Time", "type", "Event"]);

  const edge = page.getByRole("separator", { name: "Width of platform" });
  const before = await widthOf(clickstream, "platform");
  const box = await edge.boundingBox();
  await page.mouse.move((box?.x ?? 0) + 4, (box?.y ?? 0) + 8);
  await page.mouse.down();
  await page.mouse.move((box?.x ?? 0) + 84, (box?.y ?? 0) + 8, { steps: 4 });
  await page.mouse.up();
  await expect.poll(() => widthOf(clickstream, "platform")).toBe(before + 80);
  await edge.focus();
  await page.keyboard.press("ArrowLeft");
  await expect.poll(() => widthOf(clickstream, "platform")).toBe(before + 64);

  // The link has the columns, this browser their widths.
  expect(new URL(page.url()).searchParams.get("columns")).toBe("event.platform,record.timestamp,event.type,event");
  await page.goto("/?event-types=purchase");
  await expect.poll(() => headings(clickstream)).toEqual(["platform", "Time", "type", "Event"]);
  await expect.poll(() => widthOf(clickstream, "platform")).toBe(before + 64);
  await clickstream.button("Columns").click();
  await page.getByRole("button", { name: "Back to the usual columns" }).click();
  await expect.poll(() => headings(clickstream)).toEqual(["Time", "type", "user_id", "Event"]);
});

test("newest at the bottom: the list follows, scrolling up holds it, coming back lets it go", async ({ clickstream, page }) => {
  await clickstream.open("?filter=true&newest=bottom");
  const grid = page.getByRole("grid", { name: "Events" });
  const away = () => grid.evaluate((element) => Math.round(element.scrollHeight - element.clientHeight - element.scrollTop));
  await expect.poll(() => grid.evaluate((element) => element.scrollHeight > 3 * element.clientHeight)).toBe(true);
  await expect.poll(away).toBeLessThan(40);
  const last = async () => Number(await grid.getByRole("row").last().getAttribute("aria-rowindex"));
  const seen = await last();
  await expect.poll(last).toBeGreaterThan(seen);
  await grid.evaluate((element) => element.scrollBy({ top: -600 }));
  await expect(clickstream.waiting).toContainText("Paused while you scroll");
  const held = await clickstream.upperSources();
  expect(held.length).toBeGreaterThan(3);
  await expect.poll(async () => Number(await clickstream.waiting.getAttribute("data-value"))).toBeGreaterThan(20);
  expect(await clickstream.upperSources()).toEqual(held);
  await grid.evaluate((element) => element.scrollTo({ top: element.scrollHeight }));
  await expect(clickstream.waiting).toBeHidden();
  await expect.poll(away).toBeLessThan(40);
});

test("a value of an event becomes a filter, or is excluded, or copied", async ({ clickstream, page, context }) => {
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  const clipboard = () => page.evaluate(() => navigator.clipboard.readText());
  await clickstream.open("?event-types=search,catalog,home");
  await expect.poll(() => clickstream.rows.count()).toBeGreaterThan(3);
  await clickstream.openRow(0);
  const line = (name: string) => clickstream.details.locator(".tree-line").filter({ hasText: `${name}:` });
  const platform = /"(.*)"/.exec(await line("platform").innerText())?.[1] ?? "";
  await line("platform").hover();
  await line("platform").getByRole("button", { name: "Copy value" }).click();
  await expect.poll(clipboard).toBe(platform);
  await line("platform").getByRole("button", { name: "Copy path" }).click();
  await expect.poll(clipboard).toBe("event.platform");
  await clickstream.details.getByRole("button", { name: "Copy", exact: true }).click();
  await expect.poll(clipboard).toContain('"event_id":');

  await line("platform").getByRole("button", { name: "Exclude this" }).click();
  await expect(clickstream.filter).toHaveText(`(!has(event.platform) || event.platform != "${platform}")`);
  await clickstream.live();
  await expect(clickstream.details).toBeVisible();
  await line("type").hover();
  await line("type").getByRole("button", { name: "Filter for this" }).click();
  const type = /"(.*)"/.exec(await line("type").innerText())?.[1] ?? "";
  await clickstream.live();
  await expect(async () => {
    const types = await clickstream.types();
    expect(types.length).toBeGreaterThan(2);
    expect([...new Set(types)]).toEqual([type]);
  }).toPass();
  expect(new URL(page.url()).searchParams.get("event-types")).toBe(type);
  for (const text of await clickstream.rows.allInnerTexts()) expect(text).not.toMatch(new RegExp(`platform\\s+${platform}`));
  await line("session_id").hover();
  await line("session_id").getByRole("button", { name: "Show as a column" }).click();
  await expect.poll(() => headings(clickstream)).toEqual(["Time", "type", "user_id", "session_id", "Event"]);
});

test("the chart draws, and top values are counted and become a filter", async ({ clickstream, page }) => {
  await clickstream.open("?event-types=search,catalog");
  await expect.poll(async () => Number(await page.getByTestId("chart").getAttribute("data-points"))).toBeGreaterThan(2);
  await expect(page.getByTestId("chart").locator("canvas")).toBeVisible();
  await expect(page.getByRole("img", { name: /Per second: .* matched, .* scanned/ })).toBeVisible();
  await page.getByRole("combobox", { name: "Top values of" }).selectOption("platform");
  const values = page.getByTestId("top-values");
  await expect(values).toContainText(/mobile\s*\d+%/);
  expect(new URL(page.url()).searchParams.get("top")).toBe("platform");
  await values.locator('[data-value="mobile"]').getByRole("button", { name: "Filter for this" }).click();
  await expect(clickstream.filter).toHaveText('event.platform == "mobile"');
  await expect(values.locator("li")).toHaveCount(1);
  await expect(values).toContainText(/mobile\s*100%/);
});

test("times are local or UTC", async ({ browser, baseURL }) => {
  const page = await browser.newPage({ baseURL: baseURL ?? "", timezoneId: "Asia/Kolkata" });
  await page.goto("/?event-types=search");
  const time = () => page.locator("[data-source] .cell-time").first().innerText();
  await expect.poll(() => page.locator("[data-source]").count()).toBeGreaterThan(1);
  await page.getByRole("button", { name: "Pause" }).click();
  const local = await time();
  await page.getByRole("button", { name: "Times in local time" }).click();
  await expect.poll(time).not.toBe(local);
  const minutes = (text: string) => Number(text.slice(0, 2)) * 60 + Number(text.slice(3, 5));
  expect((minutes(local) - minutes(await time()) + 1440) % 1440).toBe(330);
  expect(new URL(page.url()).searchParams.get("time")).toBe("utc");
  await page.close();
});

function heading(clickstream: Clickstream, name: string) {
  return clickstream.page.getByRole("columnheader").filter({ hasText: name });
}

async function headings(clickstream: Clickstream): Promise<string[]> {
  return clickstream.page.getByRole("columnheader").allInnerTexts();
}

async function widthOf(clickstream: Clickstream, name: string): Promise<number> {
  return Math.round((await heading(clickstream, name).boundingBox())?.width ?? 0);
}
