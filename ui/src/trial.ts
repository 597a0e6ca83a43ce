import * as api from "./api/client";
import { wholeFilter } from "./query/keep";
import type { Connection } from "./stream/connection";
import { decode } from "./stream/status";
import type { EventRow } from "./store/rows";
import type { Trial, Tried } from "./store/state";
import type { Store } from "./store/store";

/** Events a second to look at, and for how long. */
export const trialRate = 20;
export const trialSeconds = 5;
/** However slow the first event is to come. */
const maxWait = 10_000;

/** `Try`: a sample of every event, each held against the filter of the form by the server. */
export class TrialRun {
  readonly #store: Store;
  readonly #connection: Connection;
  #runs = 0;
  #leave: (() => void) | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(store: Store, connection: Connection) {
    this.#store = store;
    this.#connection = connection;
  }

  start(): void {
    this.stop();
    const { draft, pipeline } = this.#store.state;
    this.#runs += 1;
    const trial: Trial = { id: this.#runs, filter: wholeFilter(draft, pipeline.eventTypeField), phase: "starting", message: "", scanned: 0, events: [] };
    this.#put(trial);
    if (!this.#connection.connected) {
      this.#put({ ...trial, phase: "failed", message: "There is no connection to the server." });
      return;
    }
    const headers = { "on-error": "message", filter: "true", rate: String(trialRate), ttl: "60" };
    let seq = 0;
    this.#leave = this.#connection.subscribe("/live", headers, (frame) => {
      const current = this.#store.state.trial;
      if (current?.id !== trial.id || (current.phase !== "starting" && current.phase !== "running")) return;
      const message = decode(frame.headers, frame.body);
      if (message.kind === "event") {
        seq += 1;
        const row: EventRow = { kind: "event", seq, source: message.source, time: message.time, body: message.body };
        this.#change(trial.id, (now) => ({ ...now, events: [...now.events, { row, answer: undefined }] }));
        void this.#explain(trial, row);
      } else if (message.kind === "status") {
        const { status } = message;
        if (status.status === "live") {
          this.#change(trial.id, (now) => ({ ...now, phase: "running" }));
          clearTimeout(this.#timer);
          this.#timer = setTimeout(() => this.stop(), trialSeconds * 1_000);
        } else if (status.status === "progress") this.#change(trial.id, (now) => ({ ...now, scanned: status.scanned }));
        else if (status.status === "ended") this.#fail(trial.id, status.message);
      }
    });
    this.#timer = setTimeout(() => this.#fail(trial.id, "The server did not start the sample in time."), maxWait);
  }

  /** Ends the sample; what was seen stays. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#leave?.();
    this.#leave = undefined;
    const { trial } = this.#store.state;
    if (trial?.phase === "starting" || trial?.phase === "running") this.#put({ ...trial, phase: "done" });
  }

  #fail(id: number, message: string): void {
    this.#change(id, (now) => ({ ...now, phase: "failed", message }));
    this.stop();
  }

  async #explain(trial: Trial, row: EventRow): Promise<void> {
    const answer = await api.explain(trial.filter, row);
    // A filter that is refused is so for every event.
    if (answer.kind === "refused") this.#fail(trial.id, answer.problem.detail);
    this.#change(trial.id, (now) => ({ ...now, events: now.events.map((tried): Tried => (tried.row === row ? { row, answer } : tried)) }));
  }

  #change(id: number, change: (trial: Trial) => Trial): void {
    const { trial } = this.#store.state;
    if (trial?.id === id) this.#put(change(trial));
  }

  #put(trial: Trial): void {
    this.#store.dispatch({ type: "trial", trial });
  }
}
