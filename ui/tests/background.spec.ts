import type { Page } from "@playwright/test";
import { expect, test } from "./clickstream";

/** Five minutes at full length, as `make soak` asks; `make test` is shorter and otherwise the same. */
const seconds = Number(process.env["CLICKSTREAM_BACKGROUND_SECONDS"] ?? "8");

test("a tab that was in the background is right on return", async ({ clickstream, page }) => {
  test.setTimeout((seconds + 90) * 1_000);
  let connections = 0;
  page.on("websocket", () => (connections += 1));
  await withBackground(page);
  await clickstream.open("?event-types=search,catalog,home&rate=0");
  await expect.poll(() => clickstream.counter("shown")).toBeGreaterThan(10);
  await background(page, true);
  const rendered = await clickstream.rows.first().getAttribute("data-source");
  const before = await clickstream.counter("shown");
  const from = Date.now();
  await expect.poll(() => Date.now() - from, { timeout: (seconds + 30) * 1_000, intervals: [1_000] }).toBeGreaterThan(seconds * 1_000);
  // Nothing was drawn meanwhile.
  expect(await clickstream.rows.first().getAttribute("data-source")).toBe(rendered);
  await background(page, false);

  await clickstream.live();
  await expect(clickstream.connection).toHaveAttribute("data-state", "connected");
  // About 90 a second match.
  await expect.poll(() => clickstream.counter("shown")).toBeGreaterThan(before + seconds * 20);
  await clickstream.button("Stop").click();
  const [matched, shown, leftOut] = [await clickstream.counter("matched"), await clickstream.counter("shown"), await clickstream.counter("left-out")];
  expect(shown + leftOut).toBe(matched);
  expect(connections).toBe(1);
});

/**
 * What a browser does to a tab behind others, done to the page by hand: Chromium without a window takes every tab for
 * one in front. The page is told that it is hidden, gets no frame, and its timers run once a second.
 */
async function withBackground(page: Page): Promise<void> {
  await page.addInitScript(() => {
    let hidden = false;
    const held: FrameRequestCallback[] = [];
    const [frame, timeout, interval] = [window.requestAnimationFrame, window.setTimeout, window.setInterval].map((call) => (call as (...args: unknown[]) => number).bind(window));
    const slowed = (delay: unknown) => (hidden ? Math.max(1_000, Number(delay ?? 0)) : delay);
    Object.defineProperty(document, "hidden", { get: () => hidden });
    Object.defineProperty(document, "visibilityState", { get: () => (hidden ? "hidden" : "visible") });
    Object.assign(window, {
      requestAnimationFrame: (callback: FrameRequestCallback) => (hidden ? held.push(callback) : frame?.((now: number) => (hidden ? held.push(callback) : callback(now)))),
      setTimeout: (callback: unknown, delay?: unknown, ...rest: unknown[]) => timeout?.(callback, slowed(delay), ...rest),
      setInterval: (callback: unknown, delay?: unknown, ...rest: unknown[]) => interval?.(callback, slowed(delay), ...rest),
      background: (into: boolean) => {
        hidden = into;
        document.dispatchEvent(new Event("visibilitychange"));
        if (!into) for (const callback of held.splice(0)) frame?.(callback);
      },
    });
  });
}

async function background(page: Page, into: boolean): Promise<void> {
  await page.evaluate((hidden) => (window as unknown as { background(into: boolean): void }).background(hidden), into);
}
