import { useVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useId, useRef, useState, type KeyboardEvent } from "react";
import { plural } from "../format";
import { maxRows } from "../store/rows";
import { shownRows, waiting } from "../store/select";
import { isActive } from "../store/state";
import { emptyWords, pausedWords } from "../words";
import { columns } from "./columns";
import { ListRow } from "./ListRow";
import { usePage, useSession } from "./session";

/** Pixels; the style sheet says the same. */
const rowHeight = 34;
const headHeight = 30;

/** The matches, newest on top. Only the rows in sight exist in the page, however many are kept. */
export function EventList() {
  const session = useSession();
  const first = usePage((state) => shownRows(state).first);
  const end = usePage((state) => shownRows(state).end);
  const runId = usePage((state) => state.run?.id);
  const live = usePage((state) => isActive(state.run) && state.paused === undefined);
  const selected = usePage((state) => state.selected);
  const empty = usePage(emptyWords);
  const [active, setActive] = useState<number>();
  const grid = useRef<HTMLDivElement>(null);
  const id = useId();

  const count = end - first;
  const list = useVirtualizer({
    count,
    getScrollElement: () => grid.current,
    estimateSize: () => rowHeight,
    getItemKey: (index) => end - 1 - index,
    overscan: 8,
    // The heading stays on top of the rows and must not hide the one that is scrolled to.
    scrollPaddingStart: headHeight,
  });

  // Whoever resumes or starts wants to see the newest.
  useEffect(() => {
    if (live) grid.current?.scrollTo({ top: 0 });
  }, [live, runId]);

  // The keyboard stays where it was when the panel, with the button that closed it, is gone.
  useEffect(() => {
    if (selected === undefined && active !== undefined && document.activeElement === document.body) grid.current?.focus();
  }, [selected, active]);

  const onScroll = () => {
    const top = grid.current?.scrollTop ?? 0;
    if (top > rowHeight) session.pause("scroll");
    else if (top === 0) session.release("scroll");
  };

  const moveTo = (seq: number) => {
    const target = Math.max(first, Math.min(end - 1, seq));
    session.pause("row");
    setActive(target);
    list.scrollToIndex(end - 1 - target);
    if (selected !== undefined) session.select(target);
  };

  const onKeyDown = (event: KeyboardEvent) => {
    if (count === 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const at = active ?? selected ?? end;
    const page = Math.max(1, Math.floor((grid.current?.clientHeight ?? 0) / rowHeight) - 2);
    // Newest on top: down is older.
    const moves: Record<string, number> = { ArrowDown: at - 1, ArrowUp: at + 1, PageDown: at - page, PageUp: at + page, Home: end - 1, End: first };
    const target = moves[event.key];
    if (target !== undefined) moveTo(target);
    else if (event.key === "Enter" && active !== undefined && session.store.rows.get(active)?.kind === "event") session.select(active);
    else if (event.key === "Escape" && selected !== undefined) session.closePanel();
    else return;
    event.preventDefault();
  };

  return (
    <div className="list">
      <div
        ref={grid}
        role="grid"
        aria-label="Events"
        aria-rowcount={count + 1}
        aria-colcount={columns.length}
        aria-activedescendant={active !== undefined && active >= first && active < end ? `${id}${active}` : undefined}
        tabIndex={0}
        className="grid"
        onKeyDown={onKeyDown}
        onScroll={onScroll}
      >
        <div role="rowgroup" className="grid-head">
          <div role="row" aria-rowindex={1} className="row head">
            {columns.map(({ id, label }) => (
              <span key={id} role="columnheader" className={`cell cell-${id}`}>
                {label}
              </span>
            ))}
          </div>
        </div>
        {/* As high as all rows together, so that the scroll bar tells the truth. */}
        <div role="rowgroup" className="rows" style={{ height: list.getTotalSize() }}>
          {list.getVirtualItems().map(({ key, index, start }) => {
            const seq = end - 1 - index;
            return (
              <ListRow
                key={key}
                id={`${id}${seq}`}
                row={session.store.rows.get(seq)}
                top={start}
                index={index + 2}
                active={seq === active}
                selected={seq === selected}
                onOpen={() => {
                  setActive(seq);
                  session.select(seq);
                }}
              />
            );
          })}
        </div>
      </div>
      {count === 0 && <p className="list-empty">{empty}</p>}
      <Waiting />
      <Removed />
    </div>
  );
}

/** Lies over the list: a row must not move away under the press that pauses it. */
function Waiting() {
  const paused = usePage((state) => state.paused);
  const count = usePage(waiting);
  if (paused === undefined) return null;
  return (
    <p className="pill" data-testid="waiting" data-value={count}>
      {pausedWords(paused.cause)} · {plural(count, "event")} waiting
    </p>
  );
}

function Removed() {
  const removed = usePage((state) => state.rows.removed);
  if (removed === 0) return null;
  return (
    <p className="list-foot" data-testid="removed" data-value={removed}>
      The page keeps the newest {plural(maxRows, "row")}; {plural(removed, "older event has", "older events have")} left it.
    </p>
  );
}
