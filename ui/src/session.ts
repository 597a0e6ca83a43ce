import * as api from "./api/client";
import type { IMessage } from "@stomp/stompjs";
import { asksForSomething, emptyQuery, fromSearch, subscribeFrame, toSearch, type Query } from "./query/query";
import { isActive, type PauseCause } from "./store/state";
import { Store } from "./store/store";
import { Connection } from "./stream/connection";
import { retryDelay } from "./stream/retry";
import { decode, isTemporary, type Status } from "./stream/status";
import { noticeWords } from "./words";

const checkAfter = 250;
const catalogueEvery = 10_000;

/**
 * What the viewer can do, and what happens by itself: the one place where the page's state meets the network,
 * the clock and the URL. Components call it and render the store; it never renders.
 */
export class Session {
  readonly store = new Store();
  readonly #connection: Connection;
  #unsubscribe: (() => void) | undefined;
  #runs = 0;
  /** Times in a row that the server could not take the query. */
  #refusals = 0;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  #checkTimer: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    const { store } = this;
    const onlySockJs = new URLSearchParams(window.location.search).get("transport") === "sockjs";
    this.#connection = new Connection(onlySockJs, {
      connecting: (transport) => store.stream({ type: "connecting", transport }),
      connected: (transport) => {
        store.stream({ type: "connected", transport });
        this.#subscribe();
      },
      lost: (lost) => store.stream({ type: "lost", lost }),
      error: (message) => store.stream({ type: "serverError", message }),
    });
  }

  /** Connects, reads the catalogue, and starts what the URL asks for. */
  begin(): void {
    this.#connection.open();
    window.addEventListener("online", () => this.#connection.open());
    // SockJS closes without a code when the page goes, which looks like a viewer who will be back.
    window.addEventListener("pagehide", () => this.#connection.close());
    window.addEventListener("pageshow", (event) => {
      if (event.persisted) this.#connection.open();
    });
    void this.#readPipeline();
    void this.#readCatalogue();
    setInterval(() => {
      if (!document.hidden) void this.#readCatalogue();
    }, catalogueEvery);
    const query = fromSearch(window.location.search);
    this.edit(query);
    if (query.standing !== "") void this.#readStanding(query.standing);
    if (asksForSomething(query)) this.start();
  }

  /** Changes the query in the form; what is being watched stays until Start. */
  edit(query: Query): void {
    const { store } = this;
    const before = store.state.draft.filter.trim();
    store.dispatch({ type: "edited", query });
    const filter = query.filter.trim();
    if (filter === before) return;
    clearTimeout(this.#checkTimer);
    if (filter !== "") this.#checkTimer = setTimeout(() => void this.#check(filter), checkAfter);
  }

  toggleEventType(name: string): void {
    const { draft } = this.store.state;
    const chosen = draft.eventTypes.includes(name);
    this.edit({ ...draft, eventTypes: chosen ? draft.eventTypes.filter((type) => type !== name) : [...draft.eventTypes, name] });
  }

  /** Leaves the standing query of the URL for one of the viewer's own. */
  leaveStanding(): void {
    this.edit(emptyQuery);
  }

  /** Watches the query of the form, with an empty list. */
  start(): void {
    this.#leave();
    this.#runs += 1;
    this.store.rows.clear();
    this.store.dispatch({ type: "started", id: this.#runs });
    window.history.replaceState(null, "", toSearch(this.store.state.draft, window.location.search) || window.location.pathname);
    this.#connection.open();
    this.#subscribe();
  }

  stop(): void {
    this.#leave();
    this.store.dispatch({ type: "rows", rows: this.store.rows.counts() });
    this.store.dispatch({ type: "stopped" });
  }

  pause(cause: PauseCause): void {
    this.store.dispatch({ type: "paused", cause, rows: this.store.rows.counts() });
  }

  resume(): void {
    this.store.dispatch({ type: "rows", rows: this.store.rows.counts() });
    this.store.dispatch({ type: "resumed" });
  }

  /** Resumes if the list stands still for that cause only. */
  release(cause: PauseCause): void {
    if (this.store.state.paused?.cause === cause) this.resume();
  }

  /** Shows a row in the side panel; the list stands still meanwhile. */
  select(seq: number): void {
    this.pause("row");
    this.store.dispatch({ type: "selected", seq });
  }

  closePanel(): void {
    this.store.dispatch({ type: "selected", seq: undefined });
    this.release("row");
  }

  /** Tries the connection now instead of after the wait. */
  reconnect(): void {
    this.#connection.open();
  }

  #subscribe(): void {
    clearTimeout(this.#retryTimer);
    const { run } = this.store.state;
    if (!isActive(run) || !this.#connection.connected) return;
    const { destination, headers } = subscribeFrame(run.query);
    this.#unsubscribe = this.#connection.subscribe(destination, headers, (message) => this.#onMessage(run.id, message));
  }

  #leave(): void {
    clearTimeout(this.#retryTimer);
    this.#refusals = 0;
    this.#unsubscribe?.();
    this.#unsubscribe = undefined;
  }

  #onMessage(runId: number, frame: IMessage): void {
    const { store } = this;
    const { run } = store.state;
    // Messages of a query that was left may still be under way.
    if (run?.id !== runId || !isActive(run)) return;
    const message = decode(frame.headers, frame.body);
    if (message.kind === "event") {
      store.rows.addEvent(message.source, message.time, message.body);
      store.rowsAdded();
    } else if (message.kind === "status") {
      this.#onStatus(message.status);
    }
  }

  #onStatus(status: Status): void {
    const { store } = this;
    const words = noticeWords(status, store.state);
    if (words !== undefined) {
      store.rows.addNotice(new Date().toISOString(), status.status === "live" ? "info" : "warning", words);
    }
    // An ended subscription is the server's no more: there is nothing left to unsubscribe from.
    if (status.status === "ended") {
      this.#unsubscribe = undefined;
      if (isTemporary(status)) {
        this.#refusals += 1;
        this.#retryTimer = setTimeout(() => this.#subscribe(), retryDelay(this.#refusals, Math.random()));
      }
    }
    if (status.status === "registered") this.#refusals = 0;
    store.stream({ type: "status", status, rows: store.rows.counts(), at: performance.now() });
  }

  async #check(filter: string): Promise<void> {
    const answer = await api.checkFilter(filter);
    // By now the viewer may have typed on.
    if (this.store.state.draft.filter.trim() === filter) {
      this.store.dispatch({ type: "checked", check: { filter, answer } });
    }
  }

  async #readPipeline(): Promise<void> {
    try {
      this.store.dispatch({ type: "pipeline", pipeline: { ...this.store.state.pipeline, ...(await api.pipeline()) } });
    } catch {
      // The names of the fields keep their defaults; the connection's state says that the server is away.
    }
  }

  async #readCatalogue(): Promise<void> {
    try {
      this.store.dispatch({ type: "eventTypes", items: await api.eventTypes() });
      if (this.store.state.fields.length === 0) this.store.dispatch({ type: "fields", items: await api.fields() });
    } catch {
      // Read again in ten seconds; the list that is there stays.
    }
  }

  async #readStanding(name: string): Promise<void> {
    try {
      const query = (await api.queries()).find((listed) => listed.kind === "standing" && `${listed.namespace}/${listed.name}` === name);
      this.store.dispatch({ type: "standing", query });
    } catch {
      // Only its filter's text is missing; joining it works without.
    }
  }
}
