import { expect, test } from "./clickstream";

/** Five minutes at full length, as `make soak` asks; `make test` is shorter and otherwise the same. */
const seconds = Number(process.env["CLICKSTREAM_BACKGROUND_SECONDS"] ?? "8");

test("a tab that was in the background is right on return", async ({ clickstream, page, context }) => {
  test.setTimeout((seconds + 90) * 1_000);
  await clickstream.open("?event-types=search,catalog,home&rate=0");
  await expect.poll(() => clickstream.counter("shown")).toBeGreaterThan(10);
  const before = await clickstream.counter("shown");
  // Playwright takes every page for one in front, unless told otherwise.
  const devtools = await context.newCDPSession(page);
  await devtools.send("Emulation.setFocusEmulationEnabled", { enabled: false });
  const other = await context.newPage();
  await other.bringToFront();
  const hidden = await page.evaluate(() => document.hidden);
  // Where a browser without windows hides no tab, the page itself is told so, and gets no frame.
  if (!hidden) await devtools.send("Emulation.setScriptExecutionDisabled", { value: false });
  const from = Date.now();
  await expect.poll(() => Date.now() - from, { timeout: (seconds + 30) * 1_000, intervals: [1_000] }).toBeGreaterThan(seconds * 1_000);
  await page.bringToFront();
  await devtools.send("Emulation.setFocusEmulationEnabled", { enabled: true });
  await other.close();

  await clickstream.live();
  await expect(clickstream.connection).toHaveAttribute("data-state", "connected");
  // About 90 a second match; at the very least the list went on while nobody looked.
  await expect.poll(() => clickstream.counter("shown")).toBeGreaterThan(before + seconds * 20);
  await clickstream.button("Stop").click();
  const [matched, shown, leftOut] = [await clickstream.counter("matched"), await clickstream.counter("shown"), await clickstream.counter("left-out")];
  expect(shown + leftOut).toBe(matched);
  expect(await page.getByText("Live again").count()).toBe(0);
  expect(hidden, "the tab was really hidden").toBe(true);
});
