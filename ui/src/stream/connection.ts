import { Client } from "@stomp/stompjs";
import { plainMessage, type MessageFrame } from "./frames";
import { nextTransport, retryDelay, type Transport } from "./retry";

/** Why a connection is gone. */
export interface Lost {
  /** The WebSocket's close code; 1006 when there was none. */
  readonly code: number;
  /** What the server said in an ERROR frame before, or nothing. */
  readonly reason: string;
  /** Which try comes next, from 1. */
  readonly attempt: number;
  /** Milliseconds until it. */
  readonly delay: number;
}

export interface ConnectionEvents {
  connecting(transport: Transport): void;
  connected(transport: Transport): void;
  lost(lost: Lost): void;
  /** The server sent ERROR; `lost` follows. */
  error(message: string): void;
}

/** A connection that lives this long was a good one: the next loss starts waiting from the shortest again. */
const stableAfter = 5_000;
const connectTimeout = 8_000;
/** At least as often @stomp/stompjs is given a message to read: it would take a server for dead from which it hears nothing. */
const readByStomp = 1_000;

/**
 * One STOMP connection that comes back by itself, over WebSocket or SockJS.
 * Subscriptions do not survive a loss: whoever made them makes them again on `connected`.
 */
export class Connection {
  #client: Client | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #failures = 0;
  #attempt = 0;
  #lastGood: Transport | undefined;
  #subscriptions = 0;
  /** Who gets the messages of a subscription, by its id. */
  readonly #receivers = new Map<string, (frame: MessageFrame) => void>();
  readonly #onlySockJs: boolean;
  readonly #events: ConnectionEvents;

  constructor(onlySockJs: boolean, events: ConnectionEvents) {
    this.#onlySockJs = onlySockJs;
    this.#events = events;
  }

  get connected(): boolean {
    return this.#client?.connected ?? false;
  }

  /** Connects now, without waiting for the next try; nothing happens when a connection is there or under way. */
  open(): void {
    if (this.#client !== undefined) return;
    clearTimeout(this.#timer);
    void this.#connect();
  }

  /** Takes leave of the server, which then drops the subscriptions at once; `open` connects again. */
  close(): void {
    clearTimeout(this.#timer);
    const client = this.#client;
    if (client === undefined) return;
    this.#client = undefined;
    void client.deactivate();
    this.#events.lost({ code: 1000, reason: "", attempt: 0, delay: 0 });
  }

  /** Subscribes on the connection that is there; the result unsubscribes if that connection still is. */
  subscribe(destination: string, headers: Readonly<Record<string, string>>, onMessage: (frame: MessageFrame) => void): () => void {
    const client = this.#client;
    if (!client?.connected) throw new Error("not connected");
    this.#subscriptions += 1;
    const id = `s${this.#subscriptions}`;
    this.#receivers.set(id, onMessage);
    const subscription = client.subscribe(destination, onMessage, { ...headers, id });
    return () => {
      this.#receivers.delete(id);
      if (client.connected) subscription.unsubscribe();
    };
  }

  /** Hands the messages that are simply read to their receivers, before @stomp/stompjs gets to see them. */
  #readPlain(socket: WebSocket): WebSocket {
    let readAt = 0;
    socket.addEventListener("message", (event) => {
      if (event.timeStamp - readAt > readByStomp) {
        readAt = event.timeStamp;
        return;
      }
      const frame = plainMessage(event.data);
      const receiver = this.#receivers.get(frame?.headers["subscription"] ?? "");
      if (frame === undefined || receiver === undefined) return;
      event.stopImmediatePropagation();
      receiver(frame);
    });
    return socket;
  }

  async #connect(): Promise<void> {
    const transport = nextTransport(this.#failures, this.#lastGood, this.#onlySockJs);
    this.#receivers.clear();
    this.#events.connecting(transport);
    const client = new Client({
      reconnectDelay: 0,
      connectionTimeout: connectTimeout,
      discardWebsocketOnCommFailure: true,
      // Otherwise every frame is written out again for a log that nobody reads.
      logRawCommunication: true,
      // Browsers slow the timers of a hidden tab to one a minute, so beats of ours would come late and the server
      // would take a healthy viewer for dead. The server's beats arrive as messages, which are not slowed.
      heartbeatOutgoing: 0,
      heartbeatIncoming: 10_000,
    });
    this.#client = client;
    let connectedAt: number | undefined;
    client.onConnect = () => {
      connectedAt = performance.now();
      this.#failures = 0;
      this.#lastGood = transport;
      this.#events.connected(transport);
    };
    let reason = "";
    const lost = (code: number) => {
      if (this.#client !== client) return;
      this.#client = undefined;
      void client.deactivate({ force: true });
      if (connectedAt === undefined) this.#failures += 1;
      else if (performance.now() - connectedAt > stableAfter) this.#attempt = 0;
      this.#attempt += 1;
      const delay = retryDelay(this.#attempt, Math.random());
      this.#timer = setTimeout(() => void this.#connect(), delay);
      this.#events.lost({ code, reason, attempt: this.#attempt, delay });
    };
    client.onStompError = (frame) => {
      reason = frame.headers["message"] ?? frame.body;
      this.#events.error(reason);
    };
    client.onWebSocketClose = (event: { code?: number }) => lost(event.code ?? 1006);
    try {
      const socket = await socketFactory(transport, client);
      // SockJS cannot be listened to before others.
      client.webSocketFactory = transport === "websocket" ? () => this.#readPlain(socket()) : socket;
    } catch {
      lost(1006);
    }
    // SockJS takes a while to load; by then the viewer may have left.
    if (this.#client === client) client.activate();
  }
}

async function socketFactory(transport: Transport, client: Client): Promise<() => WebSocket> {
  if (transport === "websocket") {
    const url = new URL("/stomp", window.location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    return () => new WebSocket(url, client.stompVersions.protocolVersions());
  }
  // Loaded only when needed: most browsers never do.
  const { default: SockJS } = await import("sockjs-client");
  return () =>
    // No JSONP, no iframes: the page's Content-Security-Policy allows neither, and no browser of today needs them.
    new SockJS("/sockjs", undefined, {
      transports: ["websocket", "xhr-streaming", "eventsource", "xhr-polling"],
    }) as unknown as WebSocket;
}
