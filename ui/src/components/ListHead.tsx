import { useState, type DragEvent, type KeyboardEvent, type PointerEvent } from "react";
import { columnLabel, moved } from "../query/view";
import { columnKind, largestColumn, smallestColumn, usualWidth, type Look } from "./cells";
import { useSession } from "./session";

interface ListHeadProps {
  readonly look: Look;
  readonly widths: Readonly<Record<string, number>>;
  /** Called while a column is dragged wider, with what is to be shown meanwhile; `undefined` at the end. */
  readonly onResizing: (widths: Readonly<Record<string, number>> | undefined) => void;
}

const dragType = "application/x-clickstream-column";
const arrowStep = 16;

/** The headings: dragged to another place, their edges to another width. */
export function ListHead({ look, widths, onResizing }: ListHeadProps) {
  const session = useSession();
  const [over, setOver] = useState<string>();

  const drop = (event: DragEvent, to: string) => {
    event.preventDefault();
    setOver(undefined);
    session.look({ columns: moved(look.columns, event.dataTransfer.getData(dragType), to) });
  };

  return (
    <div role="row" aria-rowindex={1} className="row head">
      {look.columns.map((id) => (
        <span
          key={id}
          role="columnheader"
          data-column={id}
          className={`cell cell-${columnKind(id, look.pipeline)}${over === id ? " over" : ""}`}
          draggable
          onDragStart={(event) => {
            event.dataTransfer.setData(dragType, id);
            event.dataTransfer.effectAllowed = "move";
          }}
          onDragOver={(event) => {
            if (!event.dataTransfer.types.includes(dragType)) return;
            event.preventDefault();
            setOver(id);
          }}
          onDragLeave={() => setOver(undefined)}
          onDrop={(event) => drop(event, id)}
        >
          <span className="head-label">{columnLabel(id)}</span>
          <Edge id={id} width={widths[id] ?? usualWidth(id, look.pipeline)} widths={widths} onResizing={onResizing} />
        </span>
      ))}
    </div>
  );
}

interface EdgeProps extends Pick<ListHeadProps, "widths" | "onResizing"> {
  readonly id: string;
  readonly width: number;
}

function Edge({ id, width, widths, onResizing }: EdgeProps) {
  const session = useSession();
  const bounded = (pixels: number) => Math.round(Math.max(smallestColumn, Math.min(largestColumn, pixels)));
  const keep = (pixels: number) => session.look({ widths: { ...widths, [id]: bounded(pixels) } });

  const onPointerDown = (event: PointerEvent<HTMLSpanElement>) => {
    event.preventDefault();
    event.stopPropagation();
    const edge = event.currentTarget;
    const from = event.clientX;
    // From what is in sight: the wide column is as wide as there is room.
    const before = edge.parentElement?.getBoundingClientRect().width ?? width;
    edge.setPointerCapture(event.pointerId);
    const move = (now: globalThis.PointerEvent) => onResizing({ ...widths, [id]: bounded(before + now.clientX - from) });
    const end = (now: globalThis.PointerEvent) => {
      edge.removeEventListener("pointermove", move);
      onResizing(undefined);
      if (now.type === "pointerup" && now.clientX !== from) keep(before + now.clientX - from);
    };
    edge.addEventListener("pointermove", move);
    edge.addEventListener("pointerup", end, { once: true });
    edge.addEventListener("pointercancel", end, { once: true });
  };

  const onKeyDown = (event: KeyboardEvent) => {
    const step = { ArrowLeft: -arrowStep, ArrowRight: arrowStep }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    keep(width + step);
  };

  return (
    <span
      role="separator"
      aria-orientation="vertical"
      aria-label={`Width of ${columnLabel(id)}`}
      aria-valuenow={width}
      aria-valuemin={smallestColumn}
      aria-valuemax={largestColumn}
      tabIndex={0}
      className="edge"
      // A press on the edge is no drag of the heading.
      draggable
      onDragStart={(event) => {
        event.preventDefault();
        event.stopPropagation();
      }}
      onPointerDown={onPointerDown}
      onKeyDown={onKeyDown}
    />
  );
}
