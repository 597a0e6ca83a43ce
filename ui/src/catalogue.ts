import * as api from "./api/client";
import type { Store } from "./store/store";

const readEvery = 10_000;
/** While no event type is known: a pipeline's first ones come within seconds of its first events. */
const readFirstEvery = 2_000;

/** Keeps the store level with what the stream contains: event types with their rates, fields, and standing queries. */
export class Catalogue {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  begin(): void {
    void this.#readPipeline();
    void this.#keepReading();
  }

  async readStandingQueries(): Promise<void> {
    try {
      this.#store.dispatch({ type: "standingQueries", items: (await api.queries()).filter(({ kind }) => kind === "standing") });
    } catch {
      // The list that is there stays; opening it again reads it again.
    }
  }

  /** Reads the filter of the standing query `<namespace>/<name>`. */
  async readStanding(name: string): Promise<void> {
    try {
      const query = (await api.queries()).find((listed) => listed.kind === "standing" && `${listed.namespace}/${listed.name}` === name);
      this.#store.dispatch({ type: "standing", query });
    } catch {
      // Only its filter's text is missing; joining it works without.
    }
  }

  async #readPipeline(): Promise<void> {
    try {
      this.#store.dispatch({ type: "pipeline", pipeline: { ...this.#store.state.pipeline, ...(await api.pipeline()) } });
    } catch {
      // The names of the fields keep their defaults; the connection's state says that the server is away.
    }
  }

  async #keepReading(): Promise<void> {
    if (!document.hidden) await this.#read();
    const { eventTypes } = this.#store.state;
    const isKnown = eventTypes !== undefined && eventTypes.length > 0;
    setTimeout(() => void this.#keepReading(), isKnown ? readEvery : readFirstEvery);
  }

  async #read(): Promise<void> {
    try {
      this.#store.dispatch({ type: "eventTypes", items: await api.eventTypes() });
      this.#store.dispatch({ type: "fields", items: await api.fields() });
    } catch {
      // Read again soon; the lists that are there stay.
    }
  }
}
