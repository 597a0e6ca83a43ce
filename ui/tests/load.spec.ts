import type { CDPSession, Page } from "@playwright/test";
import { maxRows } from "../src/store/rows";
import { expect, test } from "./clickstream";

/** A minute at full length, as `make soak` asks; `make test` is shorter and otherwise the same. */
const seconds = Number(process.env["CLICKSTREAM_LOAD_SECONDS"] ?? "15");
/** Times are told always, and held only where nothing else runs beside. */
const measured = process.env["CLICKSTREAM_MEASURE"] === "1";
const longestAnswer = 100;
/** Bytes of the heap for a row beside its text, which may be two bytes a character. */
const rowBytes = 1_000;

test(`every match of a flood is here or reported as left out, the page answers, and its memory is bounded (${seconds} s)`, async ({ clickstream, page, context }) => {
  test.setTimeout((seconds + 120) * 1_000);
  await observe(page);
  const devtools = await context.newCDPSession(page);
  await clickstream.open();
  const empty = await heap(devtools, page);
  // Matches end by themselves, so that the accounts of both sides come to rest; the rest is for the start.
  const until = new Date(Date.now() + (seconds + 8) * 1_000);
  await clickstream.filter.fill(`record.timestamp < timestamp("${until.toISOString()}")`);
  await page.getByText("More options").click();
  await page.getByRole("combobox", { name: "Matches shown at most" }).selectOption("no limit");
  await clickstream.button("Start").click();
  await clickstream.live();
  const live = Date.now();
  const lasting = (until.getTime() - live) / 1_000;
  await expect(clickstream.rows.first()).toBeVisible();
  console.log(`first row ${Date.now() - live} ms after live was seen`);

  const heaps: number[] = [];
  while (Date.now() < until.getTime()) {
    await useIt(page);
    const passed = (Date.now() - live) / 1_000;
    if (passed > ((heaps.length + 1) * lasting) / 3.5) heaps.push(await heap(devtools, page));
  }
  const matched = page.getByTestId("matched");
  let before = -1;
  await expect(async () => {
    const now = Number(await matched.getAttribute("data-stated"));
    const [last, rested] = [before, now > 0 && now === before];
    before = now;
    expect(rested, `the server stated ${last} and then ${now} matches`).toBe(true);
  }).toPass({ intervals: [2_500] });

  const [shown, leftOut] = [await clickstream.counter("shown"), await clickstream.counter("left-out")];
  const { longest, slowest, inp, interactions } = await observed(page);
  const mib = (bytes: number) => (bytes / 1024 / 1024).toFixed(1);
  console.log(`matched ${before} (${Math.round(before / lasting)}/s), shown ${shown}, left out ${leftOut}`);
  console.log(`longest task ${longest} ms, INP ${inp} ms, slowest of ${interactions} interactions ${slowest} ms`);
  console.log(`heap ${mib(empty)} MiB empty, then ${heaps.map(mib).join(", ")} MiB`);

  expect(before / lasting).toBeGreaterThan(1_500);
  expect(shown + leftOut).toBe(before);
  const removed = Math.max(0, shown - maxRows);
  if (removed > 0) await expect(page.getByTestId("removed")).toHaveAttribute("data-value", /^\d+$/);
  const text = await page.evaluate(() => document.querySelector("[data-source]")?.textContent?.length ?? 0);
  expect(await heap(devtools, page)).toBeLessThan(empty + 16e6 + Math.min(shown, maxRows) * (rowBytes + 4 * text));
  expect(interactions).toBeGreaterThan(3);
  if (measured) {
    expect(inp).toBeLessThanOrEqual(longestAnswer);
    expect(longest).toBeLessThanOrEqual(longestAnswer);
  }
});

/** What a viewer does meanwhile; ends with the list going on. */
async function useIt(page: Page): Promise<void> {
  await page.getByRole("button", { name: "Pause" }).click();
  await page.locator("[data-source]").nth(2).click();
  await page.getByRole("button", { name: "Close" }).click();
  await page.getByRole("button", { name: /^Times in/ }).click();
  const resume = page.getByRole("button", { name: "Resume" });
  if (await resume.isVisible()) await resume.click();
}

interface Observed {
  /** Milliseconds of the longest task. */
  readonly longest: number;
  readonly slowest: number;
  /** Interaction to Next Paint: of each 50 interactions the slowest is passed over. */
  readonly inp: number;
  readonly interactions: number;
}

async function observe(page: Page): Promise<void> {
  await page.addInitScript(() => {
    const seen = { longest: 0, interactions: {} as Record<number, number> };
    Object.assign(window, { seen });
    new PerformanceObserver((list) => {
      // What happens before something is watched is loading.
      if (document.querySelector("[data-phase=live]") === null) return;
      for (const { duration } of list.getEntries()) seen.longest = Math.max(seen.longest, duration);
    }).observe({ type: "longtask" });
    new PerformanceObserver((list) => {
      for (const { interactionId: id, duration } of list.getEntries() as (PerformanceEntry & { interactionId: number })[]) {
        if (id === 0 || document.querySelector("[data-phase=live]") === null) continue;
        seen.interactions[id] = Math.max(seen.interactions[id] ?? 0, duration);
      }
    }).observe({ type: "event", durationThreshold: 16 } as PerformanceObserverInit);
  });
}

async function observed(page: Page): Promise<Observed> {
  const { longest, interactions } = await page.evaluate(() => (window as unknown as { seen: { longest: number; interactions: Record<number, number> } }).seen);
  const slowest = Object.values(interactions).sort((a, b) => b - a);
  return { longest, slowest: slowest[0] ?? 0, inp: slowest[Math.floor(slowest.length / 50)] ?? 0, interactions: slowest.length };
}

/** Bytes of JavaScript's heap that are in use. Collecting garbage stops the page, so its last answer is painted first. */
async function heap(devtools: CDPSession, page: Page): Promise<number> {
  await page.evaluate(() => new Promise((painted) => requestAnimationFrame(() => setTimeout(painted))));
  await devtools.send("HeapProfiler.collectGarbage");
  return (await devtools.send("Runtime.getHeapUsage")).usedSize;
}
