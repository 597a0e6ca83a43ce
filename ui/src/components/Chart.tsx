import { useEffect, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { formatRate } from "../format";
import type { Rate } from "../store/state";
import { usePage } from "./session";

const height = 104;
const none: readonly Rate[] = [];

/** Matches and scanned events per second over the last minutes, each on a scale of its own. */
export default function Chart() {
  const history = usePage((state) => state.run?.history ?? none);
  const element = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(undefined);
  const data = useRef<uPlot.AlignedData>([[], [], []]);
  data.current = aligned(history);

  useEffect(() => {
    const parent = element.current;
    if (parent === null) return;
    const make = () => {
      plot.current?.destroy();
      plot.current = new uPlot(options(parent), data.current, parent);
    };
    make();
    const resized = new ResizeObserver(() => plot.current?.setSize({ width: parent.clientWidth, height }));
    resized.observe(parent);
    // The colours are drawn, so another theme means another drawing.
    const theme = window.matchMedia("(prefers-color-scheme: dark)");
    theme.addEventListener("change", make);
    return () => {
      theme.removeEventListener("change", make);
      resized.disconnect();
      plot.current?.destroy();
      plot.current = undefined;
    };
  }, []);

  useEffect(() => plot.current?.setData(data.current), [history]);

  const last = history.at(-1);
  return (
    <div className="chart" role="img" aria-label={`Per second: ${formatRate(last?.matched ?? 0)} matched, ${formatRate(last?.scanned ?? 0)} scanned`}>
      <p className="chart-key" aria-hidden="true">
        <span className="key matched" /> matched/s <span className="key scanned" /> scanned/s <span className="muted">(right)</span>
      </p>
      <div ref={element} className="chart-plot" data-testid="chart" data-points={history.length} />
    </div>
  );
}

function aligned(history: readonly Rate[]): uPlot.AlignedData {
  return [history.map(({ at }) => (performance.timeOrigin + at) / 1_000), history.map(({ scanned }) => scanned), history.map(({ matched }) => matched)];
}

function options(parent: HTMLElement): uPlot.Options {
  const style = getComputedStyle(parent);
  const colour = (name: string) => style.getPropertyValue(name).trim();
  const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
  const values = (_: uPlot, splits: number[]) => splits.map((value) => formatRate(value).replace("/s", ""));
  const fromZero: uPlot.Range.Function = (_, __, max) => [0, Math.max(1, max * 1.1)];
  return {
    width: parent.clientWidth,
    height,
    legend: { show: false },
    cursor: { show: false },
    padding: [6, 4, 0, 4],
    scales: { x: { time: true }, scanned: { range: fromZero }, matched: { range: fromZero } },
    axes: [
      { ...axis, size: 18, space: 90 },
      { ...axis, scale: "matched", size: 44, values, space: 30 },
      { ...axis, scale: "scanned", side: 1, size: 44, values, space: 30, grid: { show: false } },
    ],
    series: [
      {},
      { scale: "scanned", stroke: colour("--line-strong"), width: 1, points: { show: false } },
      { scale: "matched", stroke: colour("--accent"), fill: colour("--accent-soft"), width: 1.5, points: { show: false } },
    ],
  };
}
