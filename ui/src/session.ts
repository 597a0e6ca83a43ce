import * as api from "./api/client";
import { Catalogue } from "./catalogue";
import { download, toCsv, toNdjson } from "./export";
import type { Path } from "./json/path";
import type { Condition } from "./query/form";
import { asksForSomething, emptyQuery, fromSearch, subscribeFrame, toSearch, type Query } from "./query/query";
import { refined } from "./query/refine";
import { usualView, viewFrom, withView, type View } from "./query/view";
import { rememberView, rememberedView, savedViews, saveViews } from "./store/memory";
import type { EventRow } from "./store/rows";
import { shownColumns, shownRows, topField } from "./store/select";
import { isActive, type DialogName, type PauseCause, type SavedView } from "./store/state";
import { Store } from "./store/store";
import { TopCounter } from "./store/top";
import { Connection } from "./stream/connection";
import type { MessageFrame } from "./stream/frames";
import { retryDelay } from "./stream/retry";
import { decode, isTemporary, type Status } from "./stream/status";
import { TrialRun } from "./trial";
import { noticeWords } from "./words";

const checkAfter = 250;
const countEvery = 100;

/**
 * What the viewer can do, and what happens by itself: the one place where the page's state meets the network,
 * the clock and the URL. Components call it and render the store; it never renders.
 */
export class Session {
  readonly store = new Store();
  readonly trial: TrialRun;
  readonly #connection: Connection;
  readonly #catalogue = new Catalogue(this.store);
  #unsubscribe: (() => void) | undefined;
  #top = new TopCounter("");
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
    this.trial = new TrialRun(store, this.#connection);
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
    this.#catalogue.begin();
    setInterval(() => this.#countTop(), countEvery);
    this.store.dispatch({ type: "saved", saved: savedViews() });
    this.#open(window.location.search, rememberedView());
  }

  /** Changes the query in the form; what is being watched stays until Start. */
  edit(query: Query): void {
    const before = this.store.state.draft.filter.trim();
    this.store.dispatch({ type: "edited", query });
    this.#checkIfChanged(before);
  }

  /** Changes the filter by the rows of the form. */
  editConditions(conditions: readonly Condition[]): void {
    const before = this.store.state.draft.filter.trim();
    this.store.dispatch({ type: "conditions", conditions });
    this.#checkIfChanged(before);
  }

  toggleEventType(name: string): void {
    const { draft } = this.store.state;
    const chosen = draft.eventTypes.includes(name);
    this.edit({ ...draft, eventTypes: chosen ? draft.eventTypes.filter((type) => type !== name) : [...draft.eventTypes, name] });
  }

  /** Adds a clause on one value of an event, and watches the narrower query at once. The open event stays open. */
  refine(path: Path, json: string, exclude: boolean): void {
    const { draft, conditions, pipeline } = this.store.state;
    const from = draft.standing === "" ? draft : { ...emptyQuery, filter: this.store.state.standing?.filter ?? "" };
    const { query, conditions: rows } = refined(from, draft.standing === "" ? conditions : undefined, path, json, exclude, pipeline.eventTypeField);
    this.edit(query);
    if (rows !== undefined) this.editConditions(rows);
    this.#start(true);
  }

  /** Leaves the standing query of the URL for one of the viewer's own. */
  leaveStanding(): void {
    this.edit(emptyQuery);
  }

  /** Watches the query of the form, with an empty list. */
  start(): void {
    this.#start(false);
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
  select(row: EventRow): void {
    this.pause("row");
    this.store.dispatch({ type: "activated", seq: row.seq });
    this.store.dispatch({ type: "selected", row });
  }

  /**
   * Goes to another row; an open side panel goes along. `to` gives its index from the top of the list, from the index
   * of the row where the keyboard is (-1 if it is at none) and the number of rows.
   */
  move(to: (at: number, count: number) => number): void {
    this.pause("row");
    const { state } = this.store;
    const { first, end } = shownRows(state);
    if (end === first) return;
    const onTop = state.view.newest === "top";
    const at = state.active === undefined ? -1 : onTop ? end - 1 - state.active : state.active - first;
    const index = Math.max(0, Math.min(end - first - 1, to(at, end - first)));
    const seq = onTop ? end - 1 - index : first + index;
    this.store.dispatch({ type: "activated", seq });
    const row = this.store.rows.get(seq);
    if (this.store.state.selected !== undefined && row?.kind === "event") this.store.dispatch({ type: "selected", row });
  }

  closePanel(): void {
    this.store.dispatch({ type: "selected", row: undefined });
    this.release("row");
  }

  /** Tries the connection now instead of after the wait. */
  reconnect(): void {
    this.#connection.open();
  }

  /** Changes how the answer is looked at; the URL and this browser keep it. */
  look(change: Partial<View>): void {
    const view = { ...this.store.state.view, ...change };
    this.store.dispatch({ type: "viewed", view });
    rememberView(view);
    this.#putUrl(withView(view, window.location.search));
    if (change.top !== undefined) this.store.dispatch({ type: "top", top: undefined });
  }

  dialog(dialog: DialogName | undefined): void {
    if (this.store.state.dialog === "try") this.trial.stop();
    this.store.dispatch({ type: "dialog", dialog });
    if (dialog === "saved") void this.#catalogue.readStandingQueries();
    if (dialog === "try") this.trial.start();
  }

  /** The page's URL with the query of the form, and the view. */
  search(): string {
    const { draft, view } = this.store.state;
    return withView(view, toSearch(draft, window.location.search));
  }

  /** Keeps the query of the form and the view under a name; an older one of that name gives way. */
  save(name: string): void {
    const others = this.store.state.saved.filter((saved) => saved.name !== name);
    this.#keep([{ name, search: this.search() }, ...others]);
  }

  forget(name: string): void {
    this.#keep(this.store.state.saved.filter((saved) => saved.name !== name));
  }

  /** Opens a saved view or a standing query. */
  open(search: string): void {
    this.dialog(undefined);
    this.#open(search, { ...usualView, widths: this.store.state.view.widths });
    this.#putUrl(this.search());
  }

  /** Hands what is shown to the browser as a file. */
  export(format: "ndjson" | "csv"): void {
    const { state, rows } = this.store;
    const { first, end } = shownRows(state);
    const shown: EventRow[] = [];
    for (let seq = first; seq < end; seq += 1) {
      const row = rows.get(seq);
      if (row?.kind === "event") shown.push(row);
    }
    if (format === "ndjson") download("events.ndjson", "application/x-ndjson", toNdjson(shown));
    else download("events.csv", "text/csv;charset=utf-8", toCsv(shown, shownColumns(state)));
  }

  #open(search: string, remembered: View): void {
    const query = fromSearch(search);
    this.store.dispatch({ type: "viewed", view: viewFrom(search, remembered) });
    this.edit(query);
    if (query.standing !== "") void this.#catalogue.readStanding(query.standing);
    if (asksForSomething(query)) this.start();
  }

  #start(keepSelected: boolean): void {
    this.#leave();
    this.#runs += 1;
    this.store.rows.clear();
    this.#top = new TopCounter("");
    this.store.dispatch({ type: "started", id: this.#runs, keepSelected });
    this.#putUrl(this.search());
    this.#connection.open();
    this.#subscribe();
  }

  #keep(saved: readonly SavedView[]): void {
    this.store.dispatch({ type: "saved", saved: saveViews(saved) });
  }

  #putUrl(search: string): void {
    window.history.replaceState(null, "", search || window.location.pathname);
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

  #onMessage(runId: number, frame: MessageFrame): void {
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

  #countTop(): void {
    const { state, rows } = this.store;
    const field = topField(state);
    if (field === "" || state.run === undefined || document.hidden) return;
    if (this.#top.field !== field) this.#top = new TopCounter(field);
    if (this.#top.take(rows)) this.store.dispatch({ type: "top", top: this.#top.values() });
  }

  #checkIfChanged(before: string): void {
    const filter = this.store.state.draft.filter.trim();
    if (filter === before) return;
    clearTimeout(this.#checkTimer);
    if (filter !== "") this.#checkTimer = setTimeout(() => void this.#check(filter), checkAfter);
  }

  async #check(filter: string): Promise<void> {
    const answer = await api.checkFilter(filter);
    // By now the viewer may have typed on.
    if (this.store.state.draft.filter.trim() === filter) {
      this.store.dispatch({ type: "checked", check: { filter, answer } });
    }
  }
}
