import { expect, test } from "./clickstream";

test("a bad filter shows its error while one types, with a mark under the place", async ({ clickstream }) => {
  await clickstream.open();
  await clickstream.filter.fill('evnt.type == "purchase"');
  await expect(clickstream.filterError).toBeVisible();
  const caret = (await clickstream.filterError.locator("pre").innerText()).split("\n");
  expect(caret[0]).toBe('evnt.type == "purchase"');
  expect(caret[1]).toMatch(/^\^+$/);
  await expect(clickstream.filter).toHaveAttribute("aria-invalid", "true");

  await clickstream.filter.fill('event.type == "purchase"');
  await expect(clickstream.filterError).toBeHidden();
  await expect(clickstream.filter).toHaveAttribute("aria-invalid", "false");
});

test("a refused start leads back to the place, and the connection stays for the next try", async ({ clickstream }) => {
  await clickstream.open();
  await clickstream.filter.fill('event.type == "purchase" && evnt.x == 1');
  await clickstream.button("Start").click();
  await expect(clickstream.situation).toHaveAttribute("data-phase", "ended");
  await expect(clickstream.filterError).toBeVisible();
  await expect(clickstream.filter).toBeFocused();
  await expect(clickstream.page.locator(".cm-problem")).toHaveText("evnt");
  await expect(clickstream.connection).toHaveAttribute("data-state", "connected");

  await clickstream.filter.fill('event.type == "purchase"');
  await clickstream.button("Start").click();
  await clickstream.live();
  await expect(clickstream.filterError).toBeHidden();
});

test("a link with a broken query says so and leaves a page to mend it on", async ({ clickstream }) => {
  await clickstream.open(`?rate=lots&filter=${encodeURIComponent("event.type == <script>alert(1)</script>")}&fields=%00,,`);
  await expect(clickstream.situation).toHaveAttribute("data-phase", "ended");
  await expect(clickstream.filter).toHaveText("event.type == <script>alert(1)</script>");
  await expect(clickstream.button("Start")).toBeEnabled();
});

test("a standing query that does not exist is said to be missing", async ({ clickstream }) => {
  await clickstream.open("?query=nobody/nothing");
  await expect(clickstream.situation).toHaveAttribute("data-phase", "ended");
  await expect(clickstream.situation).toContainText("nobody/nothing");
});
