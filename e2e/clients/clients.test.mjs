// @stomp/stompjs over WebSocket and over every transport of sockjs-client that the handler serves, unchanged.
//
// HANDLER_URL: a running handler on which events flow all the time, e.g. that of `clickstream demo`.
// EVENT_TYPE: a type of events that flows often (default `catalog`).

import assert from "node:assert/strict";
import test from "node:test";

import { Client, Versions } from "@stomp/stompjs";
import SockJS from "sockjs-client";
import { WebSocket } from "ws";

const url = process.env.HANDLER_URL;
assert.ok(url, "set HANDLER_URL to the address of a running handler");
const eventType = process.env.EVENT_TYPE ?? "catalog";
const filter = `event.type == ${JSON.stringify(eventType)}`;

const webSocket = (...versions) => ({
  brokerURL: `${url.replace(/^http/, "ws")}/stomp`,
  stompVersions: new Versions(versions),
});
const sockJs = (transport) => ({
  webSocketFactory: () => new SockJS(`${url}/sockjs`, null, { transports: [transport] }),
});

const ways = {
  "WebSocket, STOMP 1.2": [webSocket("1.2", "1.1", "1.0"), "1.2"],
  "WebSocket, STOMP 1.1": [webSocket("1.1", "1.0"), "1.1"],
  "WebSocket, STOMP 1.0": [webSocket("1.0"), "1.0"],
  "SockJS websocket": [sockJs("websocket"), "1.2"],
  "SockJS xhr-streaming": [sockJs("xhr-streaming"), "1.2"],
  "SockJS eventsource": [sockJs("eventsource"), "1.2"],
  "SockJS xhr-polling": [sockJs("xhr-polling"), "1.2"],
};

Object.assign(globalThis, { WebSocket });

/** A connected client; events in order are taken with `next`. It goes with the test. */
async function connect(t, options) {
  const queue = [];
  const waiting = [];
  const tell = (event) => (waiting.length > 0 ? waiting.shift()(event) : queue.push(event));
  const client = new Client({
    reconnectDelay: 0,
    onConnect: (frame) => tell({ connected: frame }),
    onStompError: (frame) => tell({ error: frame }),
    onWebSocketClose: (close) => tell({ close }),
    ...options,
  });
  t.after(() => client.deactivate({ force: true }));
  client.activate();
  const next = () =>
    queue.length > 0 ? Promise.resolve(queue.shift()) : new Promise((done) => waiting.push(done));
  /** The next event of that kind; others before it are passed over, failures are not. */
  const until = async (kind) => {
    for (;;) {
      const event = await next();
      if (kind in event) return event[kind];
      assert.ok(!("error" in event), event.error?.headers.message);
      assert.ok(!("close" in event), `closed: ${event.close?.code}`);
    }
  };
  return { client, tell, next, until, connected: await until("connected") };
}

/** Subscribes and sorts what comes: `{event}`, `{status}`, `{receipt}`. */
function subscribe({ client, tell }, headers = {}, destination = "/live") {
  client.watchForReceipt("subscribed", () => tell({ receipt: "subscribed" }));
  return client.subscribe(
    destination,
    (message) => {
      assert.equal(message.headers["content-type"], "application/json");
      const body = JSON.parse(message.body);
      if (message.headers.status === undefined) {
        tell({ event: { body, message, source: message.headers.source } });
      } else {
        assert.equal(body.status, message.headers.status);
        tell({ [body.status]: body });
      }
    },
    { receipt: "subscribed", ...headers },
  );
}

for (const [way, [options, version]] of Object.entries(ways)) {
  test(way, { timeout: 60_000 }, async (t) => {
    await t.test("events that match, and only those, each once", async (t) => {
      const session = await connect(t, options);
      const { client, until } = session;
      assert.equal(client.connectedVersion, version);
      const subscription = subscribe(session, { filter, rate: "0" });
      await until("receipt");
      await until("live");
      const sources = new Set();
      while (sources.size < 20) {
        const { body, message, source } = await until("event");
        assert.equal(body.type, eventType);
        assert.match(source, /^[^/]+\/\d+\/\d+$/);
        // In 1.1 this client leaves escapes as they are.
        const time = version === "1.1" ? message.headers.time.replaceAll("\\c", ":") : message.headers.time;
        assert.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
        assert.ok(!sources.has(source), `${source} came twice`);
        sources.add(source);
      }
      client.watchForReceipt("unsubscribed", () => session.tell({ unsubscribed: true }));
      subscription.unsubscribe({ receipt: "unsubscribed" });
      await until("unsubscribed");
      await client.deactivate();
    });

    await t.test("every event of a partition in its order", async (t) => {
      const session = await connect(t, options);
      subscribe(session, { rate: "0", ack: version === "1.0" ? "client" : "client-individual" });
      await session.until("live");
      const last = new Map();
      for (let count = 0; count < 50; count += 1) {
        const { message, source } = await session.until("event");
        message.ack();
        const [, partition, offset] = source.match(/^(.*)\/(\d+)$/);
        if (last.has(partition)) assert.equal(Number(offset), last.get(partition) + 1);
        last.set(partition, Number(offset));
      }
      await session.client.deactivate();
    });

    await t.test("a bad filter is told, softly or by ERROR", async (t) => {
      const session = await connect(t, options);
      subscribe(session, { filter: "event.type ==", "on-error": "message" });
      const ended = await session.until("ended");
      assert.equal(ended.reason, "refused");
      assert.equal(ended.error.status, 422);
      assert.match(ended.error.caret, /\^/);
      subscribe(session, { filter: "event.type ==" });
      let told;
      do told = await session.next();
      while (!("error" in told));
      assert.equal(told.error.headers["receipt-id"], "subscribed");
      assert.deepEqual(JSON.parse(told.error.body), ended.error);
      do told = await session.next();
      while (!("close" in told));
      await session.client.deactivate();
    });
  });
}

test("heart-beats keep a silent connection", { timeout: 60_000 }, async (t) => {
  const session = await connect(t, {
    ...webSocket("1.2"),
    heartbeatIncoming: 1_000,
    heartbeatOutgoing: 1_000,
  });
  assert.equal(session.connected.headers["heart-beat"], "10000,10000");
  // Longer than what either side would bear without one.
  const quiet = new Promise((done) => setTimeout(() => done({ quiet: true }), 25_000));
  assert.deepEqual(await Promise.race([session.next(), quiet]), { quiet: true });
  assert.ok(session.client.connected);
  await session.client.deactivate();
});
