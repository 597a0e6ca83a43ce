import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { AxeResults } from "axe-core";
import { expect, test } from "./clickstream";
import type { Page } from "@playwright/test";

const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

for (const colorScheme of ["light", "dark"] as const) {
  for (const [device, viewport] of [["desk", { width: 1360, height: 860 }], ["phone", { width: 390, height: 800 }]] as const) {
    test(`axe finds nothing, ${colorScheme}, ${device}`, async ({ clickstream, page }) => {
      await page.setViewportSize(viewport);
      await page.emulateMedia({ colorScheme });
      await clickstream.open();
      await expect(clickstream.eventType("purchase")).toBeVisible();
      await clickstream.filter.fill("evnt.x == 1");
      await expect(clickstream.filterError).toBeVisible();
      expect(await violations(page)).toEqual([]);

      await clickstream.filter.fill("true");
      await clickstream.button("Start").click();
      await expect.poll(() => clickstream.counter("left-out")).toBeGreaterThan(0);
      await clickstream.button("Pause").click();
      await clickstream.rows.nth(3).click();
      await expect(clickstream.details).toBeVisible();
      expect(await violations(page)).toEqual([]);
      // Nothing is wider than the screen.
      expect(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth)).toBe(true);
    });
  }
}

test("everything can be done by keyboard", async ({ clickstream, page }) => {
  await clickstream.open();
  await clickstream.eventType("purchase").focus();
  await page.keyboard.press("Space");
  await clickstream.filter.focus();
  await page.keyboard.type('event.platform != "nothing"');
  await page.keyboard.press("Enter");
  await clickstream.live();
  await expect.poll(() => clickstream.rows.count()).toBeGreaterThan(3);

  await page.getByRole("grid", { name: "Events" }).focus();
  await page.keyboard.press("Home");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await expect(clickstream.details).toContainText('"purchase"');
  const second = await clickstream.rows.nth(1).getAttribute("data-source");
  await expect(clickstream.details).toContainText(second?.split("/").at(-1) ?? "no row");
  await page.keyboard.press("ArrowUp");
  const first = await clickstream.rows.nth(0).getAttribute("data-source");
  await expect(clickstream.details).toContainText(first?.split("/").at(-1) ?? "no row");
  await page.keyboard.press("Escape");
  await expect(clickstream.details).toBeHidden();

  await clickstream.button("Pause").focus();
  await page.keyboard.press("Enter");
  await expect(clickstream.button("Resume")).toBeFocused();
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await expect(clickstream.situation).toHaveAttribute("data-phase", "stopped");
});

test("keys that work everywhere, and not while one writes", async ({ clickstream, page }) => {
  await clickstream.open("?event-types=search,catalog");
  await expect.poll(() => clickstream.rows.count()).toBeGreaterThan(4);
  const heard = page.getByRole("status", { name: "Stream" });
  await expect(heard).toHaveText("Live: new matches appear in the list");
  await page.keyboard.press("Space");
  await expect(clickstream.button("Resume")).toBeVisible();
  await expect(heard).toHaveText("Paused");
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  await page.keyboard.press("k");
  await expect(page.locator(".row.active")).toHaveAttribute("data-source", (await clickstream.sources())[1] ?? "");
  await page.keyboard.press("Enter");
  await expect(clickstream.details).toBeVisible();
  await page.keyboard.press("Escape");
  await expect(clickstream.details).toBeHidden();
  await page.keyboard.press("?");
  await expect(clickstream.dialog("Keyboard")).toBeVisible();
  expect(await violations(page)).toEqual([]);
  await page.keyboard.press("Escape");
  await expect(clickstream.dialog("Keyboard")).toBeHidden();
  await page.keyboard.press("/");
  await expect(clickstream.filter).toBeFocused();
  await page.keyboard.type("event.j / 2 > k ? a : b");
  await expect(clickstream.filter).toHaveText("event.j / 2 > k ? a : b");
  await expect(clickstream.button("Resume")).toBeVisible();
});

test("axe finds nothing in the dialogs", async ({ clickstream, page }) => {
  await page.emulateMedia({ colorScheme: "dark" });
  await clickstream.open("?event-types=search");
  await clickstream.live();
  for (const [button, dialog] of [["Keep", "Keep this query"], ["Saved", "Saved views and standing queries"], ["Columns", "Columns"], ["Try", "Try the query"]] as const) {
    await test.step(button, async () => {
      await clickstream.button(button).click();
      await expect(clickstream.dialog(dialog)).toBeVisible();
      if (button === "Try") {
        await expect(page.getByTestId("try-state")).toHaveAttribute("data-phase", "done");
        await page.getByRole("button", { name: "Why not?" }).first().click();
      }
      expect(await violations(page)).toEqual([]);
      await clickstream.dialog(dialog).getByRole("button", { name: "Close" }).click();
      await expect(clickstream.dialog(dialog)).toBeHidden();
    });
  }
});

async function violations(page: Page): Promise<string[]> {
  await page.evaluate(axeSource);
  const results = await page.evaluate(() => (window as unknown as { axe: { run(): Promise<AxeResults> } }).axe.run());
  return results.violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html }) => html).join(" ")}`);
}
