import { useSyncExternalStore } from "react";
import { reduce } from "./reducer";
import { RowBuffer } from "./rows";
import { initialState, type Action, type State } from "./state";

/** Milliseconds between two renderings of the stream: more often nobody could follow. */
const calm = 80;
/** After one comes this many times as long without any, in which the viewer's own acts are answered. */
const rest = 3;
/** Milliseconds, however long that one took. */
const longestRest = 500;

/**
 * The page's state, outside of React. What the viewer does is shown at once; what the stream does is gathered and
 * shown in an animation frame, so that a thousand events a second cost a dozen renderings of the rows in sight.
 * A hidden tab has no frames and renders nothing, but takes in everything.
 */
export class Store {
  readonly rows = new RowBuffer();
  #state: State = initialState;
  #listeners = new Set<() => void>();
  /** Whether a rendering of the stream is to come. */
  #due = false;
  /** When the next rendering may be. */
  #notBefore = 0;

  /** An action of the viewer. */
  dispatch(action: Action): void {
    this.#state = reduce(this.#state, action);
    this.#notify();
  }

  /** An action of the stream. */
  stream(action: Action): void {
    this.#state = reduce(this.#state, action);
    this.rowsAdded();
  }

  /** To be called after rows were added: they are shown in a frame soon. */
  rowsAdded(): void {
    if (this.#due) return;
    this.#due = true;
    this.#await();
  }

  #await(): void {
    const wait = this.#notBefore - performance.now();
    if (wait > 0) setTimeout(() => this.#await(), wait);
    else requestAnimationFrame(() => this.#show());
  }

  #show(): void {
    const began = performance.now();
    this.#due = false;
    this.#notBefore = began + calm;
    this.#state = reduce(this.#state, { type: "rows", rows: this.rows.counts() });
    this.#notify();
    // Behind layout and paint, which take longer than what was done here.
    setTimeout(() => {
      const took = performance.now() - began;
      this.#notBefore = began + Math.max(calm, took + Math.min(rest * took, longestRest));
    });
  }

  get state(): State {
    return this.#state;
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  #notify(): void {
    for (const listener of this.#listeners) listener();
  }
}

/** Renders again when what `select` gives is another value; it must give the same value for the same state. */
export function useSelect<T>(store: Store, select: (state: State) => T): T {
  return useSyncExternalStore(store.subscribe, () => select(store.state));
}
