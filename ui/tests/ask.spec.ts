import { expect, test } from "./clickstream";

test("rows of the form are offered what the stream contains, and become the filter", async ({ clickstream, page }) => {
  await clickstream.open();
  await expect(clickstream.page.getByRole("group", { name: "Event types" })).toContainText(/purchase\s*[\d.<]+\/s/);
  const field = page.getByRole("combobox", { name: "Field 1" });
  await expect.poll(() => offered(field)).toContain("platform");
  await field.fill("platform");
  await expect.poll(() => offered(page.getByRole("combobox", { name: "Value 1" }))).toContain("mobile");
  await page.getByRole("combobox", { name: "Value 1" }).fill("mobile");
  await expect(clickstream.filter).toHaveText('event.platform == "mobile"');
  await page.getByRole("button", { name: "Add a condition" }).click();
  await page.getByRole("combobox", { name: "Field 2" }).fill("type");
  await page.getByRole("combobox", { name: "Comparison 2" }).selectOption("is not");
  await page.getByRole("combobox", { name: "Value 2" }).fill("search");
  await expect(clickstream.filter).toHaveText('event.platform == "mobile" && (!has(event.type) || event.type != "search")');
  await clickstream.button("Start").click();
  await expect(async () => {
    const types = await clickstream.types();
    expect(types.length).toBeGreaterThan(10);
    expect(types).not.toContain("search");
  }).toPass();
});

test("a filter becomes rows where they can say it, and says so where not", async ({ clickstream, page }) => {
  await clickstream.open();
  await clickstream.filter.fill(`event.user_id.startsWith('user_') && event.page.path == "/a"`);
  await expect(page.getByRole("combobox", { name: "Comparison 1" })).toHaveValue("startsWith");
  await expect(page.getByRole("combobox", { name: "Field 2" })).toHaveValue("page.path");
  await clickstream.filter.fill('event.type == "a" || event.type == "b"');
  await expect(page.getByTestId("not-in-form")).toBeVisible();
  await expect(page.getByRole("combobox", { name: "Field 1" })).toBeHidden();
  await expect(clickstream.filter).toHaveText('event.type == "a" || event.type == "b"');
  await clickstream.filter.fill("event.n > 5");
  await expect(page.getByRole("combobox", { name: "Value 1" })).toHaveValue("5");
  await page.getByRole("button", { name: "Remove condition 1" }).click();
  await expect(clickstream.filter).toHaveText(/^(event\.platform == "mobile")?$/);
  expect(await page.getByTestId("not-in-form").count()).toBe(0);
});

test("the editor completes fields, values and functions, and marks an error where it is", async ({ clickstream, page }) => {
  await clickstream.open();
  await expect.poll(() => offered(page.getByRole("combobox", { name: "Field 1" }))).toContain("platform");
  await clickstream.filter.focus();
  await page.keyboard.type("event.plat");
  await expect(page.getByRole("option", { name: /^platform/ })).toBeVisible();
  await page.keyboard.press("Tab");
  await expect(clickstream.filter).toHaveText("event.platform");
  await page.keyboard.type(' == "mob');
  await expect(page.getByRole("option", { name: '"mobile"' })).toBeVisible();
  await page.keyboard.press("Tab");
  await expect(clickstream.filter).toHaveText('event.platform == "mobile"');
  await clickstream.filter.fill("event.platform.startWith(1)");
  await expect(page.locator(".cm-problem")).toHaveText("startWith");
  await expect(clickstream.filter).toHaveAttribute("aria-invalid", "true");
});

test("Try splits a sample into what matches and what does not, and says why", async ({ clickstream, page }) => {
  await clickstream.open();
  await clickstream.filter.fill('event.platform == "mobile" && has(event.user_id)');
  await clickstream.button("Try").click();
  const dialog = clickstream.dialog("Try the query");
  await expect(dialog).toContainText("20 a second for 5 seconds");
  await expect(page.getByTestId("try-state")).toHaveAttribute("data-phase", "done");
  const [matching, others] = [page.getByTestId("try-matching").getByRole("listitem"), page.getByTestId("try-others").getByRole("listitem")];
  await expect.poll(async () => Math.min(await matching.count(), await others.count())).toBeGreaterThan(5);
  for (const text of await matching.allInnerTexts()) expect(text).toMatch(/platform\s+mobile/);
  for (const text of await others.allInnerTexts()) expect(text).not.toMatch(/platform\s+mobile/);
  await others.first().getByRole("button", { name: "Why not?" }).click();
  await expect(others.first().getByTestId("explanation")).toHaveAttribute("data-result", "noMatch");
  await expect(others.first().locator(".decides")).toContainText('event.platform == "mobile" ✗ false');
  // Nothing was started by it, and nothing of it goes on.
  await dialog.getByRole("button", { name: "Close" }).click();
  expect(await page.getByRole("grid", { name: "Events" }).count()).toBe(0);
});

test("Try says what is wrong with a filter that cannot be tried", async ({ clickstream, page }) => {
  await clickstream.open();
  await clickstream.filter.fill("evnt.x");
  await clickstream.button("Try").click();
  await expect(page.getByTestId("try-state")).toHaveAttribute("data-phase", "failed");
  await expect(page.getByTestId("try-state")).toContainText("evnt");
});

test("Why not? holds any event against the filter in the form", async ({ clickstream }) => {
  await clickstream.open("?event-types=purchase");
  await expect.poll(() => clickstream.rows.count()).toBeGreaterThan(1);
  await clickstream.openRow(0);
  await clickstream.details.getByRole("button", { name: "Why not?" }).click();
  const explanation = clickstream.details.getByTestId("explanation");
  await expect(explanation).toHaveAttribute("data-result", "match");
  await clickstream.filter.fill('event.platform == "typewriter"');
  await expect(explanation).toHaveAttribute("data-result", "noMatch");
  await expect(explanation.locator(".decides")).toContainText('event.platform == "typewriter" ✗ false');
  await clickstream.filter.fill("event.nothing > 1");
  await expect(explanation).toContainText("there is no field `nothing`");
});

/** What the browser offers for a field with a list. */
async function offered(field: import("@playwright/test").Locator): Promise<string[]> {
  return field.evaluate((input: HTMLInputElement) => [...(input.list?.options ?? [])].map(({ value }) => value));
}
