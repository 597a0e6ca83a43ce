/** The page as a viewer sees it, by the names that the viewer (and assistive technology) goes by. */
import { test as base, expect, type APIRequestContext, type Locator, type Page } from "@playwright/test";

export class Clickstream {
  readonly filter: Locator;
  readonly filterError: Locator;
  readonly connection: Locator;
  readonly situation: Locator;
  readonly rows: Locator;
  readonly waiting: Locator;
  readonly details: Locator;

  constructor(readonly page: Page) {
    this.filter = page.getByRole("textbox", { name: "Filter" });
    this.filterError = page.getByTestId("filter-error");
    this.connection = page.getByRole("status", { name: "Connection" });
    this.situation = page.getByTestId("situation");
    this.rows = page.getByRole("grid", { name: "Events" }).locator("[data-source]");
    this.waiting = page.getByTestId("waiting");
    this.details = page.getByRole("region", { name: "Event details" });
  }

  async open(search = ""): Promise<void> {
    await this.page.goto(`/${search}`);
    await expect(this.connection).toHaveAttribute("data-state", "connected");
    // The editor has taken the plain box's place.
    if (!search.includes("query=")) await expect(this.page.locator(".filter-editor")).toBeVisible();
  }

  /** Opens the event of a row of the list. */
  async openRow(index: number): Promise<void> {
    await this.rows.nth(index).dispatchEvent("pointerdown");
    await this.rows.nth(index).click();
    await expect(this.details).toBeVisible();
  }

  dialog(name: string): Locator {
    return this.page.getByRole("dialog", { name });
  }

  button(name: "Start" | "Pause" | "Resume" | "Stop" | "Close" | "Try" | "Keep" | "Saved" | "Columns"): Locator {
    return this.page.getByRole("button", { name, exact: true });
  }

  eventType(name: string): Locator {
    return this.page.getByRole("group", { name: "Event types" }).getByRole("checkbox", { name, exact: true });
  }

  async live(): Promise<void> {
    await expect(this.situation).toHaveAttribute("data-phase", "live");
  }

  async counter(name: "scanned" | "matched" | "shown" | "left-out" | "lag"): Promise<number> {
    return Number(await this.page.getByTestId(name).getAttribute("data-value"));
  }

  /** Source positions of the rows that are in the page. */
  async sources(): Promise<string[]> {
    return this.rows.evaluateAll((rows) => rows.map((row) => row.getAttribute("data-source") ?? ""));
  }

  /** The same of the rows in the upper half of the list: how many there are below depends on how high it is just now. */
  async upperSources(): Promise<string[]> {
    return this.rows.evaluateAll((rows) => {
      const list = rows[0]?.closest("[role=grid]")?.getBoundingClientRect() ?? new DOMRect();
      const isInside = (row: DOMRect) => row.top >= list.top && row.bottom <= list.top + list.height / 2;
      return rows.filter((row) => isInside(row.getBoundingClientRect())).map((row) => row.getAttribute("data-source") ?? "");
    });
  }

  /** The event types of the rows that are in the page. */
  async types(): Promise<string[]> {
    return this.rows.locator(".cell-type").allInnerTexts();
  }
}

/** A filter like `filter` that no other viewer has, so that its query can be told apart on the server. */
export function unique(filter: string): string {
  return `(${filter}) && event.event_id != "${crypto.randomUUID()}"`;
}

/** Whether the server lists the query of `filter`. */
export async function isListed(request: APIRequestContext, filter: string): Promise<boolean> {
  const checked = await request.post("/api/v1/filters/check", { data: { filter } });
  expect(checked.status(), await checked.text()).toBe(200);
  const { query } = (await checked.json()) as { query: string };
  const { items } = (await (await request.get("/api/v1/queries")).json()) as { items: { id: string }[] };
  return items.some(({ id }) => id === query);
}

/** Every test also fails on a script error, on a breach of the page's own policy, and on a request to elsewhere. */
export const test = base.extend<{ clickstream: Clickstream }>({
  clickstream: async ({ page, baseURL }, use) => {
    const wrong: string[] = [];
    page.on("pageerror", (error) => wrong.push(`script error: ${error.message}`));
    page.on("console", (message) => {
      if (message.text().includes("Content Security Policy")) wrong.push(message.text());
    });
    page.on("request", (request) => {
      if (new URL(request.url()).host !== new URL(baseURL ?? "").host) wrong.push(`request to elsewhere: ${request.url()}`);
    });
    await use(new Clickstream(page));
    expect(wrong).toEqual([]);
  },
});

export { expect };
