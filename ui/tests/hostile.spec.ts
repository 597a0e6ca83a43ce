import type { Page, WebSocketRoute } from "@playwright/test";
import { expect, test } from "./clickstream";

/** Puts events of the test's own between those of the real server. */
class Between {
  #socket: WebSocketRoute | undefined;
  #server: WebSocketRoute | undefined;
  #subscription: string | undefined;
  #sent = 0;

  static async of(page: Page): Promise<Between> {
    const between = new Between();
    await page.routeWebSocket(/\/stomp$/, (socket) => {
      const server = socket.connectToServer();
      [between.#socket, between.#server] = [socket, server];
      socket.onMessage((message) => {
        const id = /^SUBSCRIBE\n(?:.*\n)*?id:(.*)\n/.exec(String(message))?.[1];
        if (id !== undefined) between.#subscription = id;
        server.send(message);
      });
    });
    return between;
  }

  send(body: string, time = "2024-01-01T00:00:00.000Z"): string {
    this.#sent += 1;
    const source = `hostile/0/${this.#sent}`;
    this.#socket?.send(
      `MESSAGE\nsubscription:${this.#subscription}\nmessage-id:h-${this.#sent}\ndestination:/live\ncontent-type:application/json\nsource:${source}\ntime:${time}\n\n${body}\0`,
    );
    return source;
  }

  async breakOff(): Promise<void> {
    this.#socket?.send("MESSAGE\nsubscription:0\nmessage-");
    await this.#socket?.close({ code: 1011 });
    await this.#server?.close();
  }
}

const nothing = "?filter=event.type+%3D%3D+%22no+such+type%22";

const events: readonly (readonly [string, string, RegExp])[] = [
  ["markup and scripts", '{"type":"<img src=x onerror=alert(1)>","user_id":"<script>alert(2)</script>","x":"javascript:alert(3)"}', /<img src=x onerror=alert\(1\)>/],
  ["control characters", '{"type":"a\\u0000b\\u001b[31m","x":"\\u0007"}', /a\\u0000b\\u001b\[31m/],
  ["writing that turns around", '{"type":"\u202egnp.exe","user_id":"مرحبا","x":"\u2066\u200f"}', /⟨U\+202E⟩gnp\.exe/],
  ["huge numbers", '{"type":"n","id":123456789012345678901234567890,"small":1.10,"e":1E400}', /123456789012345678901234567890/],
  ["repeated keys", '{"type":"first","type":"second","user_id":1,"user_id":2}', /"first"[^]*"second"/],
  ["names of JavaScript's own", '{"__proto__":{"type":"x"},"constructor":1,"type":"proto","toString":null}', /__proto__/],
  ["no type and no time", '{"x":1}', /x:\s*1/],
  ["another kind where text is usual", '{"type":["a"],"user_id":{"a":1},"x":true}', /\[1 value\]/],
  ["what is no JSON", "{broken", /\{broken/],
  ["what is no object", "[1,2]", /0:\s*1/],
  ["deep nesting", `${'{"a":'.repeat(90)}1${"}".repeat(90)}`, /a:/],
];

test("hostile events are shown safely, one by one", async ({ clickstream, page }) => {
  let ran = 0;
  page.on("dialog", (dialog) => {
    ran += 1;
    void dialog.dismiss();
  });
  const between = await Between.of(page);
  await clickstream.open(nothing);
  await clickstream.live();
  for (const [name, body, shown] of events) {
    await test.step(name, async () => {
      const source = between.send(body, name.includes("no time") ? "" : undefined);
      await expect(page.locator(`[data-source="${source}"]`)).toBeVisible();
      await clickstream.openRow(0);
      await expect(clickstream.details).toContainText(shown);
      await clickstream.details.getByRole("button", { name: "Raw" }).click();
      expect(await clickstream.details.locator("pre").textContent()).toBe(body);
      expect(await page.locator("[role=grid] img, [role=grid] script, .panel img, .panel script").count()).toBe(0);
      await clickstream.button("Close").click();
      await expect(clickstream.waiting).toBeHidden();
    });
  }
  expect(ran).toBe(0);
});

test("the last of repeated keys counts in a column, and numbers keep every digit there", async ({ clickstream, page }) => {
  const between = await Between.of(page);
  await clickstream.open(`${nothing}&columns=event.type,event.id`);
  await clickstream.live();
  between.send('{"type":"first","id":123456789012345678901234567890,"type":"second"}');
  await expect(clickstream.rows.first().getByRole("gridcell")).toHaveText(["second", "123456789012345678901234567890"]);
});

test("an event of 2,000 fields and one of 500 KB are listed, opened and closed", async ({ clickstream, page }) => {
  const between = await Between.of(page);
  await clickstream.open(nothing);
  await clickstream.live();
  between.send(`{${Array.from({ length: 2_000 }, (_, index) => `"field${index}":"value ${index}"`).join(",")}}`);
  between.send(`{"type":"long","text":"${"x".repeat(500_000)}","after":"end"}`);
  await expect(clickstream.rows).toHaveCount(2);
  await clickstream.openRow(0);
  await expect(clickstream.details).toContainText('after: "end"');
  await clickstream.details.getByRole("button", { name: /Show all 500,002 characters/ }).click();
  expect((await clickstream.details.locator(".json-string").allInnerTexts()).some((text) => text.length === 500_002)).toBe(true);
  await clickstream.openRow(1);
  await expect(clickstream.details).toContainText('field99: "value 99"');
  await clickstream.details.getByRole("button", { name: "Show more (1,900)" }).click();
  await clickstream.details.getByRole("button", { name: "Show more (1,500)" }).click();
  await expect(clickstream.details).toContainText('field1999: "value 1999"');
  await clickstream.button("Close").click();
  await expect(clickstream.details).toBeHidden();
});

test("a server that goes away in mid-frame is waited for, and nothing is torn", async ({ clickstream, page }) => {
  const between = await Between.of(page);
  // Rare ones: the list draws only what is in sight, and the words must stay there long enough to be seen.
  await clickstream.open("?event-types=purchase,review_page");
  await expect.poll(() => clickstream.rows.count()).toBeGreaterThan(5);
  await between.breakOff();
  await expect(page.getByText("Live again. What matched while the connection was away is not here.").first()).toBeVisible();
  const sources = await clickstream.sources();
  expect(sources.length).toBeGreaterThan(5);
  for (const source of sources) expect(source).toMatch(/^.+\/\d+\/\d+$/);
});

const links = [
  ["broken percent signs", "?filter=%E0%A4%A&event-types=%&columns=%ff&time=%00"],
  ["a script", "?filter=%3Cscript%3Ealert(1)%3C/script%3E&query=&event-types=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E"],
  ["a standing query that climbs", "?query=../../api/v1/queries%00%0a%0aSEND"],
  ["much too much", `?filter=${"a".repeat(6_000)}&columns=${"event.x,".repeat(300)}&rate=-1e99`],
] as const;

test("a hostile link leaves a page that says what is wrong", async ({ clickstream, page }) => {
  let ran = 0;
  page.on("dialog", (dialog) => {
    ran += 1;
    void dialog.dismiss();
  });
  for (const [name, search] of links) {
    await test.step(name, async () => {
      await page.goto(`/${search}`);
      await expect(clickstream.connection).toHaveAttribute("data-state", "connected");
      await expect(clickstream.situation).toHaveAttribute("data-phase", /ended|live/);
      await expect(clickstream.button("Start")).toBeEnabled();
    });
  }
  expect(ran).toBe(0);
});
