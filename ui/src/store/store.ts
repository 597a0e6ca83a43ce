import { useSyncExternalStore } from "react";
import { reduce } from "./reducer";
import { RowBuffer } from "./rows";
import { initialState, type Action, type State } from "./state";

/** Milliseconds between two renderings of the stream: more often nobody could follow, and the viewer's own acts wait. */
const calm = 80;

/**
 * The page's state, outside of React. What the viewer does is shown at once; what the stream does is gathered and
 * shown in an animation frame, so that a thousand events a second cost a dozen renderings of the rows in sight.
 * A hidden tab has no frames and renders nothing, but takes in everything.
 */
export class Store {
  readonly rows = new RowBuffer();
  #state: State = initialState;
  #listeners = new Set<() => void>();
  /** Whether a rendering of the stream is under way. */
  #due = false;
  #shownAt = 0;

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
    const wait = this.#shownAt + calm - performance.now();
    const frame = () => requestAnimationFrame(() => this.#show());
    if (wait > 0) setTimeout(frame, wait);
    else frame();
  }

  #show(): void {
    this.#due = false;
    this.#shownAt = performance.now();
    this.#state = reduce(this.#state, { type: "rows", rows: this.rows.counts() });
    this.#notify();
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
