import { memo } from "react";
import { formatMillis } from "../format";
import type { EventRow, NoticeRow, Row } from "../store/rows";
import { cell, columnKind, type Look } from "./cells";
import { usePage, useSession } from "./session";

interface ListRowProps {
  readonly id: string;
  readonly row: Row | undefined;
  readonly look: Look;
  /** Pixels from the top of the list. */
  readonly top: number;
  /** Of the grid, from 1, the heading included. */
  readonly index: number;
  readonly active: boolean;
  readonly selected: boolean;
}

export function ListRow({ row, look, top, index, active, selected, id }: ListRowProps) {
  const session = useSession();
  if (row === undefined) return null;
  const state = `${active ? " active" : ""}${selected ? " selected" : ""}`;
  const common = { role: "row", id, "aria-rowindex": index, "aria-selected": selected, style: { transform: `translateY(${top}px)` } } as const;
  if (row.kind === "notice") {
    return (
      <div {...common} className={`row notice ${row.tone}${state}`}>
        <Notice row={row} columns={look.columns.length} />
      </div>
    );
  }
  return (
    <div
      {...common}
      data-source={row.source}
      className={`row event${state}`}
      // Held from the press on: a row that moves away between press and release could not be clicked.
      onPointerDown={() => session.pause("row")}
      onClick={() => session.select(row)}
    >
      <Cells row={row} look={look} />
    </div>
  );
}

/** Rows never change, so moving one down the list renders none of its cells. */
const Cells = memo(function Cells({ row, look }: { readonly row: EventRow; readonly look: Look }) {
  return look.columns.map((id) => (
    <span key={id} role="gridcell" className={`cell cell-${columnKind(id, look.pipeline)}`}>
      {cell(id, row, look)}
    </span>
  ));
});

const Notice = memo(function Notice({ row, columns }: { readonly row: NoticeRow; readonly columns: number }) {
  const zone = usePage((state) => state.view.time);
  return (
    <>
      <span role="gridcell" className="cell cell-time">
        {formatMillis(row.time, zone)}
      </span>
      <span role="gridcell" aria-colspan={Math.max(1, columns - 1)} className="cell cell-notice" title={row.text}>
        {row.text}
      </span>
    </>
  );
});
