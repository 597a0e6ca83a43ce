import { memo } from "react";
import { formatMillis } from "../format";
import type { EventRow, NoticeRow, Row } from "../store/rows";
import { columns } from "./columns";
import { usePage, useSession } from "./session";

interface ListRowProps {
  readonly id: string;
  readonly row: Row | undefined;
  /** Pixels from the top of the list. */
  readonly top: number;
  /** Of the grid, from 1, the heading included. */
  readonly index: number;
  readonly active: boolean;
  readonly selected: boolean;
  readonly onOpen: () => void;
}

export function ListRow({ row, top, index, active, selected, id, onOpen }: ListRowProps) {
  const session = useSession();
  if (row === undefined) return null;
  const notice = row.kind === "notice";
  const state = `${active ? " active" : ""}${selected ? " selected" : ""}`;
  return (
    <div
      role="row"
      id={id}
      aria-rowindex={index}
      aria-selected={selected}
      data-source={notice ? undefined : row.source}
      className={notice ? `row notice ${row.tone}${state}` : `row event${state}`}
      style={{ transform: `translateY(${top}px)` }}
      // Held from the press on: a row that moves away between press and release could not be clicked.
      onPointerDown={notice ? undefined : () => session.pause("row")}
      onClick={notice ? undefined : onOpen}
    >
      {notice ? <Notice row={row} /> : <Cells row={row} />}
    </div>
  );
}

/** Rows never change, so moving one down the list renders none of its cells. */
const Cells = memo(function Cells({ row }: { readonly row: EventRow }) {
  const pipeline = usePage((state) => state.pipeline);
  return columns.map(({ id, cell }) => (
    <span key={id} role="gridcell" className={`cell cell-${id}`}>
      {cell(row, pipeline)}
    </span>
  ));
});

const Notice = memo(function Notice({ row }: { readonly row: NoticeRow }) {
  return (
    <>
      <span role="gridcell" className="cell cell-time">
        {formatMillis(row.time)}
      </span>
      <span role="gridcell" aria-colspan={columns.length - 1} className="cell cell-notice" title={row.text}>
        {row.text}
      </span>
    </>
  );
});
