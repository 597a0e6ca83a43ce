import { join } from "node:path";
import { expect, test } from "./clickstream";

/** Where the README's pictures go; a test run leaves them with its other results. */
const folder = process.env["CLICKSTREAM_SCREENSHOTS"] ?? "test-results";

for (const colorScheme of ["light", "dark"] as const) {
  test(`a picture of the page, ${colorScheme}`, async ({ clickstream, page }) => {
    await page.setViewportSize({ width: 1520, height: 820 });
    await page.emulateMedia({ colorScheme });
    await clickstream.open();
    await clickstream.eventType("purchase").check();
    await clickstream.eventType("add_to_cart").check();
    await clickstream.filter.fill('event.platform == "mobile"');
    await clickstream.button("Start").click();
    await expect.poll(() => clickstream.counter("matched")).toBeGreaterThan(25);
    await clickstream.rows.nth(2).dispatchEvent("pointerdown");
    await clickstream.rows.nth(2).click();
    await expect(clickstream.details).toBeVisible();
    await page.mouse.move(0, 0);
    await page.screenshot({ path: join(folder, `page-${colorScheme}.png`) });
  });
}
