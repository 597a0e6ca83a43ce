import { expect, isListed, test, unique } from "./clickstream";

for (const transport of ["websocket", "sockjs"] as const) {
  test(`a filter shows the events that match, and only those, over ${transport}`, async ({ clickstream, request }) => {
    const filter = unique('event.type in ["purchase", "cart"]');
    await clickstream.open(transport === "sockjs" ? "?transport=sockjs" : "");
    if (transport === "sockjs") await expect(clickstream.connection).toContainText("SockJS");
    await clickstream.filter.fill(filter);
    await clickstream.button("Start").click();
    await clickstream.live();
    expect(await isListed(request, filter)).toBe(true);

    await expect(async () => {
      const types = await clickstream.types();
      expect(types.length).toBeGreaterThan(15);
      expect(types.filter((type) => type !== "purchase" && type !== "cart")).toEqual([]);
      expect(new Set(types).size).toBe(2);
    }).toPass();
    const sources = await clickstream.sources();
    expect(new Set(sources).size).toBe(sources.length);
    for (const source of sources) expect(source).toMatch(/^.+\/\d+\/\d+$/);
    await expect(async () => {
      const [scanned, matched] = [await clickstream.counter("scanned"), await clickstream.counter("matched")];
      expect(matched).toBeGreaterThan(0);
      expect(scanned).toBeGreaterThan(matched);
    }).toPass();

    await clickstream.button("Stop").click();
    await expect(clickstream.situation).toHaveAttribute("data-phase", "stopped");
    await expect.poll(() => isListed(request, filter)).toBe(false);
    // What was seen stays readable.
    expect(await clickstream.rows.count()).toBeGreaterThan(15);
  });
}

for (const transport of ["websocket", "sockjs"] as const) {
  test(`leaving the page ends its query, over ${transport}`, async ({ clickstream, request }) => {
    const filter = unique("true");
    await clickstream.open(`?filter=${encodeURIComponent(filter)}&transport=${transport}`);
    await clickstream.live();
    expect(await isListed(request, filter)).toBe(true);
    await clickstream.page.goto("about:blank");
    // Sooner than a viewer is given up whose connection broke.
    await expect.poll(() => isListed(request, filter)).toBe(false);
  });
}

test("closing the page ends its query", async ({ clickstream, request }) => {
  const filter = unique("true");
  await clickstream.open(`?filter=${encodeURIComponent(filter)}`);
  await clickstream.live();
  expect(await isListed(request, filter)).toBe(true);
  await clickstream.page.close();
  await expect.poll(() => isListed(request, filter)).toBe(false);
});

test("event types are offered from the stream, and chosen ones alone are shown", async ({ clickstream }) => {
  await clickstream.open();
  await clickstream.eventType("search").check();
  await clickstream.eventType("catalog").check();
  await clickstream.button("Start").click();
  await expect(async () => {
    const types = await clickstream.types();
    expect([...new Set(types)].sort()).toEqual(["catalog", "search"]);
  }).toPass();
  expect(new URL(clickstream.page.url()).search).toBe("?event-types=search%2Ccatalog");
  // The link starts the same query by itself.
  await clickstream.page.reload();
  await clickstream.live();
  await expect(clickstream.eventType("search")).toBeChecked();
});

test("pausing keeps the list still and loses nothing", async ({ clickstream, baseURL }) => {
  // High enough for every row of the test to be in the page at once.
  await clickstream.page.setViewportSize({ width: 1360, height: 4_000 });
  const filter = 'event.type in ["purchase", "review_page"]';
  await clickstream.open();
  await clickstream.filter.fill(filter);
  await clickstream.button("Start").click();
  await clickstream.live();
  const other = await watchOverSse(new URL(`/api/v1/live?rate=0&filter=${encodeURIComponent(filter)}`, baseURL));

  await expect.poll(() => clickstream.rows.count()).toBeGreaterThan(2);
  await clickstream.button("Pause").click();
  const before = await clickstream.sources();
  await expect.poll(async () => Number(await clickstream.waiting.getAttribute("data-value"))).toBeGreaterThan(8);
  expect(await clickstream.sources()).toEqual(before);
  await clickstream.button("Resume").click();
  await expect(clickstream.waiting).toBeHidden();

  // All that another viewer got meanwhile is here, each once.
  const expected = [...other.sources];
  other.close();
  expect(expected.length).toBeGreaterThan(8);
  await expect(async () => {
    const sources = await clickstream.sources();
    expect(expected.filter((source) => !sources.includes(source))).toEqual([]);
    expect(new Set(sources).size).toBe(sources.length);
  }).toPass();
});

test("scrolling holds the list, coming back to the top lets it go", async ({ clickstream }) => {
  await clickstream.open("?filter=true");
  const grid = clickstream.page.getByRole("grid", { name: "Events" });
  await expect.poll(() => grid.evaluate((element) => element.scrollHeight > 3 * element.clientHeight)).toBe(true);
  await grid.evaluate((element) => element.scrollTo({ top: 400 }));
  await expect(clickstream.waiting).toContainText("Paused while you scroll");
  const held = await clickstream.upperSources();
  expect(held.length).toBeGreaterThan(3);
  await expect.poll(async () => Number(await clickstream.waiting.getAttribute("data-value"))).toBeGreaterThan(20);
  expect(await clickstream.upperSources()).toEqual(held);
  await grid.evaluate((element) => element.scrollTo({ top: 0 }));
  await expect(clickstream.waiting).toBeHidden();
});

test("a row opens the whole event, and the list stands still meanwhile", async ({ clickstream }) => {
  await clickstream.open("?event-types=purchase");
  await expect.poll(() => clickstream.rows.count()).toBeGreaterThan(1);
  await clickstream.rows.first().dispatchEvent("pointerdown");
  const source = await clickstream.rows.first().getAttribute("data-source");
  await clickstream.openRow(0);
  await expect(clickstream.details).toContainText('type: "purchase"');
  await clickstream.details.getByRole("button", { name: "Raw" }).click();
  await expect(clickstream.details).toContainText('"type":"purchase"');
  await expect(clickstream.details).toContainText('"event_id"');
  const [topic, partition, offset] = source?.split("/") ?? [];
  await expect(clickstream.details.locator("dd")).toContainText([/\d/, /Z$/, topic ?? "", partition ?? "", offset ?? ""]);
  await expect(clickstream.waiting).toContainText("Paused while you read");
  await clickstream.button("Close").click();
  await expect(clickstream.details).toBeHidden();
  await expect(clickstream.waiting).toBeHidden();
});

test("only the chosen fields are sent", async ({ clickstream, page }) => {
  await clickstream.open("?event-types=search&fields=type,platform");
  await expect.poll(() => clickstream.rows.count()).toBeGreaterThan(1);
  await clickstream.openRow(0);
  await clickstream.details.getByRole("button", { name: "Raw" }).click();
  await expect(clickstream.details.locator("pre")).toHaveText(/^\{"type":"search","platform":"[a-z]+"\}$/);
  await clickstream.details.getByRole("button", { name: "Why not?" }).click();
  await expect(clickstream.details).toContainText("The event is here only in part");
  expect(new URL(page.url()).searchParams.get("fields")).toBe("type,platform");
});

test("what is over the rate is counted and told between the rows", async ({ clickstream }) => {
  await clickstream.open("?filter=true&rate=5");
  await expect.poll(() => clickstream.counter("left-out")).toBeGreaterThan(20);
  await expect(clickstream.page.getByText(/matches left out here: more matched than the 5 matches per second/).first()).toBeVisible();
  await clickstream.button("Pause").click();
  const [matched, shown, leftOut] = [await clickstream.counter("matched"), await clickstream.counter("shown"), await clickstream.counter("left-out")];
  expect(matched).toBeGreaterThan(shown);
  expect(leftOut).toBeGreaterThan(shown);
});

/** Reads the server-sent events of `url`, once they are live, until closed. */
async function watchOverSse(url: URL): Promise<{ readonly sources: string[]; close(): void }> {
  const abort = new AbortController();
  const response = await fetch(url, { signal: abort.signal });
  if (response.body === null) throw new Error("no body");
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const sources: string[] = [];
  let text = "";
  const read = async (): Promise<boolean> => {
    const { done, value } = await reader.read();
    text += value ?? "";
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const id = /^id: ?(.*)$/m.exec(text.slice(0, end))?.[1];
      if (id !== undefined) sources.push(id);
      text = text.slice(end + 2);
    }
    return !done;
  };
  await read();
  void (async () => {
    while (await read());
  })().catch(() => undefined);
  return { sources, close: () => abort.abort() };
}
