import { expect, test } from "./clickstream";

/** The clicks are counted: whoever adds one to this way makes the page harder. */
test("someone who has never seen the page finds that mobile visitors are thrown back from shipping to the cart", async ({ clickstream, page }) => {
  let clicks = 0;
  const click = async (target: import("@playwright/test").Locator) => {
    clicks += 1;
    await target.click();
  };

  // A type that should not be there is listed among the others. Whom does it happen to?
  await clickstream.open();
  await click(clickstream.eventType("checkout_bug"));
  await click(clickstream.button("Start"));
  clicks += 2;
  await page.getByRole("combobox", { name: "Top values of" }).selectOption("platform");
  const platforms = page.getByTestId("top-values");
  await expect(platforms).toContainText(/mobile\s*100%/, { timeout: 60_000 });

  // What do they do around it?
  await click(platforms.locator('[data-value="mobile"]').getByRole("button", { name: "Filter for this" }));
  await click(clickstream.eventType("shipping_details"));
  await click(clickstream.eventType("cart"));
  await click(clickstream.button("Start"));
  // Newest on top: the step before is the row below.
  await expect(async () => {
    const visits = await clickstream.rows.evaluateAll((rows) => rows.map((row) => [row.querySelector(".cell-type")?.textContent, row.querySelector(".cell-field")?.textContent]));
    const back = visits.filter(([type, user], index) => type === "cart" && visits[index + 1]?.[0] === "shipping_details" && visits[index + 1]?.[1] === user);
    expect(back.length).toBeGreaterThan(0);
  }).toPass({ timeout: 60_000 });
  await expect(clickstream.filter).toHaveText('event.platform == "mobile"');
  expect(clicks).toBe(8);
});
