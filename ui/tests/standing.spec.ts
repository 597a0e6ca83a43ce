import { expect, test } from "./clickstream";

/** Which one there is, as NAMESPACE/NAME. */
const name = process.env["CLICKSTREAM_QUERY"] ?? "";

test("the address of a standing query shows its filter and its matches", async ({ clickstream, page }) => {
  await clickstream.open(`?query=${name}`);
  await expect(page.locator(".standing-name")).toHaveText(name);
  await expect(page.locator(".standing-filter")).toContainText("event.type");
  await clickstream.live();
  await expect(clickstream.rows.first()).toBeVisible();
});

test("standing queries can be found by whoever does not know their address", async ({ clickstream }) => {
  await clickstream.open();
  await clickstream.button("Saved").click();
  await clickstream.dialog("Saved views and standing queries").getByRole("button", { name }).click();
  await clickstream.live();
  await expect(clickstream.rows.first()).toBeVisible();
});
