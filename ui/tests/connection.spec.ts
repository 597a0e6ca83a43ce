import { expect, test } from "./clickstream";

test("a lost connection is said in words and comes back by itself", async ({ clickstream, page }) => {
  const connections: { close(code: number): void }[] = [];
  await page.routeWebSocket(/\/stomp$/, (socket) => {
    socket.connectToServer();
    connections.push({ close: (code) => void socket.close({ code }) });
  });
  // Rare ones: the list draws only what is in sight, and its words must stay there long enough to be seen.
  await clickstream.open("?event-types=purchase,review_page");
  await clickstream.live();
  await expect.poll(() => clickstream.counter("matched")).toBeGreaterThan(5);
  const [matched, scanned] = [await clickstream.counter("matched"), await clickstream.counter("scanned")];
  // The words stand for less than a second, so the page itself takes them down.
  await clickstream.situation.evaluate((element) => {
    const said: string[] = [];
    Object.assign(window, { said });
    new MutationObserver(() => said.push(element.textContent ?? "")).observe(element, { characterData: true, subtree: true, childList: true });
  });
  connections[0]?.close(1012);
  const said = () => page.evaluate(() => (window as unknown as { said: string[] }).said.join(" | "));
  await expect.poll(said).toContain("The server is restarting. Trying again by itself");

  await clickstream.live();
  expect(connections.length).toBeGreaterThan(1);
  await expect(page.getByText("Live again. What matched while the connection was away is not here.")).toBeVisible();
  // The counters go on from where they were.
  await expect.poll(() => clickstream.counter("matched")).toBeGreaterThan(matched);
  await expect.poll(() => clickstream.counter("scanned")).toBeGreaterThan(scanned);
});

test("where WebSocket does not get through, SockJS does", async ({ clickstream, page }) => {
  await page.routeWebSocket(/\/(stomp|websocket)$/, (socket) => void socket.close({ code: 1006 }));
  await clickstream.open("?filter=true");
  await expect(clickstream.connection).toContainText("SockJS");
  await clickstream.live();
  await expect.poll(() => clickstream.rows.count()).toBeGreaterThan(5);
});
