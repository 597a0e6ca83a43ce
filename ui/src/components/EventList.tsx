import { useVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useId, useLayoutEffect, useMemo, useRef, useState, type CSSProperties, type KeyboardEvent } from "react";
import { plural } from "../format";
import { maxRows } from "../store/rows";
import { shownColumns, shownRows, waiting } from "../store/select";
import { isActive } from "../store/state";
import { emptyWords, pausedWords } from "../words";
import { narrowest, template, type Look } from "./cells";
import { ListHead } from "./ListHead";
import { ListRow } from "./ListRow";
import { usePage, useSession } from "./session";

/** Pixels; the style sheet says the same. */
const rowHeight = 34;
const headHeight = 30;

/** The matches, newest on top or at the bottom. Only the rows in sight exist in the page, however many are kept. */
export function EventList() {
  const session = useSession();
  const first = usePage((state) => shownRows(state).first);
  const end = usePage((state) => shownRows(state).end);
  const runId = usePage((state) => state.run?.id);
  const live = usePage((state) => isActive(state.run) && state.paused === undefined);
  const selected = usePage((state) => state.selected);
  const active = usePage((state) => state.active);
  const newest = usePage((state) => state.view.newest);
  const empty = usePage(emptyWords);
  const look = useLook();
  const kept = usePage((state) => state.view.widths);
  const [resizing, setResizing] = useState<Readonly<Record<string, number>>>();
  const widths = resizing ?? kept;
  const grid = useRef<HTMLDivElement>(null);
  const id = useId();

  const count = end - first;
  const onTop = newest === "top";
  const seqAt = (index: number) => (onTop ? end - 1 - index : first + index);
  const indexOf = (seq: number) => (onTop ? end - 1 - seq : seq - first);
  const list = useVirtualizer({
    count,
    getScrollElement: () => grid.current,
    estimateSize: () => rowHeight,
    getItemKey: seqAt,
    overscan: 4,
    // The heading stays on top of the rows and must not hide the one that is scrolled to.
    scrollPaddingStart: headHeight,
  });

  // Whoever resumes or starts wants to see the newest; at the bottom it moves away with every row.
  const topBefore = useRef(0);
  useLayoutEffect(() => {
    if (!live || grid.current === null) return;
    grid.current.scrollTo({ top: onTop ? 0 : grid.current.scrollHeight });
    // The viewer's own scrolling is measured from here.
    topBefore.current = grid.current.scrollTop;
  }, [live, runId, onTop, onTop ? 0 : end]);

  // Rows that leave above the ones being read must not pull those away.
  const firstBefore = useRef(first);
  useLayoutEffect(() => {
    const left = first - firstBefore.current;
    firstBefore.current = first;
    if (!live && !onTop && left > 0) grid.current?.scrollBy({ top: -left * rowHeight });
  }, [first, live, onTop]);

  const ours = useRef(false);
  useEffect(() => {
    if (active === undefined) return;
    // A scroll of the page's own is not the viewer's, who pauses by it.
    ours.current = true;
    list.scrollToIndex(indexOf(active));
    const frame = requestAnimationFrame(() => requestAnimationFrame(() => (ours.current = false)));
    return () => cancelAnimationFrame(frame);
    // Only when the viewer goes there; the list may be scrolled away afterwards.
  }, [active]);

  // The keyboard stays where it was when the panel, with the button that closed it, is gone.
  useEffect(() => {
    if (selected === undefined && active !== undefined && document.activeElement === document.body) grid.current?.focus();
  }, [selected, active]);

  const onScroll = () => {
    const element = grid.current;
    if (element === null) return;
    const moved = element.scrollTop - topBefore.current;
    topBefore.current = element.scrollTop;
    if (ours.current) return;
    const away = onTop ? element.scrollTop : element.scrollHeight - element.clientHeight - element.scrollTop;
    // Away from the newest, and by the viewer: a list that only got less high has not moved.
    if (away > rowHeight && (onTop ? moved > 0 : moved < 0)) session.pause("scroll");
    else if (away < 2) session.release("scroll");
  };

  const onKeyDown = (event: KeyboardEvent) => {
    if (count === 0 || event.target !== grid.current || event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor((grid.current.clientHeight ?? 0) / rowHeight) - 2);
    const moves: Readonly<Record<string, (at: number, rows: number) => number>> = {
      ArrowDown: (at) => at + 1,
      ArrowUp: (at) => at - 1,
      PageDown: (at) => at + page,
      PageUp: (at) => at - page,
      Home: () => 0,
      End: (_, rows) => rows - 1,
    };
    const move = moves[event.key];
    const row = active === undefined ? undefined : session.store.rows.get(active);
    if (move !== undefined) session.move(move);
    else if (event.key === "Enter" && row?.kind === "event") session.select(row);
    else return;
    event.preventDefault();
  };

  const items = list.getVirtualItems();
  const style = { "--columns": template(look.columns, widths, look.pipeline), "--columns-width": `${narrowest(look.columns, widths, look.pipeline)}px` } as CSSProperties;
  return (
    <div className="list">
      <div
        ref={grid}
        role="grid"
        aria-label="Events"
        aria-rowcount={count + 1}
        aria-colcount={look.columns.length}
        aria-activedescendant={active !== undefined && active >= first && active < end ? `${id}${active}` : undefined}
        tabIndex={0}
        className="grid"
        style={style}
        onKeyDown={onKeyDown}
        onScroll={onScroll}
      >
        <div role="rowgroup" className="grid-head">
          <ListHead look={look} widths={widths} onResizing={setResizing} />
        </div>
        {/* As high as all rows together, so that the scroll bar tells the truth. */}
        <div role="rowgroup" className="rows" style={{ height: list.getTotalSize() }}>
          {items.map(({ index, start }) => {
            const seq = seqAt(index);
            const row = session.store.rows.get(seq);
            return (
              // A row that comes takes the elements of one that leaves: in a flood all rows are others each time.
              <ListRow key={seq % items.length} id={`${id}${seq}`} row={row} look={look} top={start} index={index + 2} active={seq === active} selected={row !== undefined && row === selected} />
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

/** The same object while nothing of it changes: cells are rendered again for another one. */
function useLook(): Look {
  const columns = usePage(shownColumns);
  const zone = usePage((state) => state.view.time);
  const pipeline = usePage((state) => state.pipeline);
  return useMemo(() => ({ columns, zone, pipeline }), [columns, zone, pipeline]);
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
