import { Fragment, memo, type ReactNode } from "react";
import type { Pipeline } from "../api/types";
import { formatMillis, visible } from "../format";
import { fieldPath } from "../json/path";
import { eventOf, preview, textAt } from "../json/rows";
import { columnField, type Zone } from "../query/view";
import { isTooLarge, positionOf, type EventRow } from "../store/rows";
import { tooLargeWords } from "../words";
import { hue } from "./hue";

/** What cells depend on beside their row. */
export interface Look {
  readonly columns: readonly string[];
  readonly zone: Zone;
  readonly pipeline: Pipeline;
}

/** Characters of an event that its row shows; the side panel has all. */
const previewLimit = 240;
const cellLimit = 300;

const columnGap = 16;
const smallestWide = 160;
export const smallestColumn = 48;
export const largestColumn = 1_200;

/** Pixels of a column that the viewer has not set. */
export function usualWidth(id: string, { eventTypeField }: Pipeline): number {
  if (id === "record.timestamp") return 112;
  if (id.startsWith("record.")) return 90;
  if (id === "event") return 320;
  return id === `event.${eventTypeField}` ? 160 : 140;
}

/** A class for the style sheet. */
export function columnKind(id: string, { eventTypeField }: Pipeline): "time" | "type" | "rest" | "field" {
  if (id === "record.timestamp") return "time";
  if (id === "event") return "rest";
  return id === `event.${eventTypeField}` ? "type" : "field";
}

/** Pixels that the columns need with the gaps between them, before they scroll sideways. */
export function narrowest(columns: readonly string[], widths: Readonly<Record<string, number>>, pipeline: Pipeline): number {
  const own = columns.map((id) => widths[id] ?? (id === wideColumn(columns) ? smallestWide : usualWidth(id, pipeline)));
  return own.reduce((sum, width) => sum + width + columnGap, columnGap);
}

/** The event itself takes the room that is left; without it the last column does. */
export function template(columns: readonly string[], widths: Readonly<Record<string, number>>, pipeline: Pipeline): string {
  return columns.map((id) => (id === wideColumn(columns) ? `minmax(${widths[id] ?? smallestWide}px, 1fr)` : `${widths[id] ?? usualWidth(id, pipeline)}px`)).join(" ");
}

function wideColumn(columns: readonly string[]): string | undefined {
  return columns.includes("event") ? "event" : columns.at(-1);
}

export function cell(id: string, row: EventRow, look: Look): ReactNode {
  if (id === "record.timestamp") return formatMillis(row.time, look.zone);
  if (id === "event") return <Rest row={row} columns={look.columns} />;
  const field = columnField(id);
  if (field !== undefined) {
    const text = textAt(eventOf(row), field, cellLimit);
    if (text === undefined) return "–";
    return id === `event.${look.pipeline.eventTypeField}` ? <TypeCell name={text} /> : visible(text);
  }
  const { topic, partition, offset } = positionOf(row);
  return { "record.topic": topic, "record.partition": partition, "record.offset": offset }[id] ?? "–";
}

function TypeCell({ name }: { readonly name: string }) {
  return (
    <>
      <span className={`hue ${hue(name)}`} aria-hidden="true" />
      {visible(name)}
    </>
  );
}

/** All fields that have no column of their own. Apart from the look, so that another zone or width reads no event again. */
const Rest = memo(function Rest({ row, columns }: { readonly row: EventRow; readonly columns: readonly string[] }) {
  if (isTooLarge(row)) return tooLargeWords;
  const shown = columns.flatMap((id) => {
    const field = columnField(id);
    return field?.length === 1 ? [fieldPath(field), ...field] : [];
  });
  return <Pairs row={row} without={shown} limit={previewLimit} />;
});

/** The event's fields in a line, at most about `limit` characters. */
export function Pairs({ row, without, limit }: { readonly row: EventRow; readonly without: readonly string[]; readonly limit: number }) {
  return preview(eventOf(row), without, limit).map(([name, value], index) => (
    <Fragment key={index}>
      <span className="pair-name">{isolated(visible(name))}</span> {isolated(visible(value))}
    </Fragment>
  ));
}

const leftToRight = /^[\u0020-\u024f\u2010-\u22ff\u2400-\u243f]*$/;

/** Writing from right to left must not turn what stands beside it. Most text needs no element for that. */
function isolated(text: string): ReactNode {
  return leftToRight.test(text) ? text : <bdi>{text}</bdi>;
}
