import type { ReactNode } from "react";
import { formatMillis } from "../format";
import { eventOf, preview, textAt } from "../json/event";
import { isTooLarge, type EventRow } from "../store/rows";
import type { Pipeline } from "../api/types";
import { tooLargeWords } from "../words";
import { hue } from "./hue";

export interface Column {
  readonly id: string;
  readonly label: string;
  readonly cell: (row: EventRow, pipeline: Pipeline) => ReactNode;
}

/** Characters of an event that its row shows; the side panel has all. */
const previewLimit = 240;

export const columns: readonly Column[] = [
  { id: "time", label: "Time", cell: ({ time }) => formatMillis(time) },
  { id: "type", label: "Type", cell: (row, pipeline) => <TypeCell name={textAt(eventOf(row), pipeline.eventTypeField)} /> },
  { id: "user", label: "User", cell: (row, pipeline) => textAt(eventOf(row), pipeline.userField) ?? "–" },
  { id: "rest", label: "Event", cell: (row, pipeline) => <Rest row={row} pipeline={pipeline} /> },
];

function TypeCell({ name }: { readonly name: string | undefined }) {
  if (name === undefined) return "–";
  return (
    <>
      <span className={`hue ${hue(name)}`} aria-hidden="true" />
      {name}
    </>
  );
}

function Rest({ row, pipeline }: { readonly row: EventRow; readonly pipeline: Pipeline }) {
  if (isTooLarge(row)) return tooLargeWords;
  return preview(eventOf(row), [pipeline.eventTypeField, pipeline.userField], previewLimit).map(([name, value], index) => (
    <span key={index} className="pair">
      <span className="pair-name">{name}</span> <bdi>{value}</bdi>
    </span>
  ));
}
