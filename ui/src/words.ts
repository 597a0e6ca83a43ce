/** What the page says of the stream, in words: every sentence about its state is in this file. */
import { formatTime, plural } from "./format";
import { asksForSomething, type Query } from "./query/query";
import type { Zone } from "./query/view";
import { counters } from "./store/select";
import { isAboutFilter, type ConnectionState, type PauseCause, type Run, type State } from "./store/state";
import type { Lost } from "./stream/connection";
import type { Ended, Gap, Status } from "./stream/status";

export interface Sentence {
  readonly tone: "quiet" | "good" | "busy" | "warning" | "bad";
  readonly text: string;
}

export const tooLargeWords = "This event is too large to be sent. It is in Kafka, at this topic, partition and offset.";

/** So far behind that a viewer should know: what is seen now happened a while ago. */
const behind = 5_000;

export function connectionWords(connection: ConnectionState): string {
  switch (connection.state) {
    case "connecting":
      return "Connecting…";
    case "connected":
      return connection.transport === "sockjs" ? "Connected · SockJS" : "Connected";
    case "reconnecting":
      return "Reconnecting…";
  }
}

/** The one sentence above the list: what is happening, and what silence means. */
export function situation(state: State): Sentence {
  const { run, connection } = state;
  if (run === undefined) return { tone: "quiet", text: "Nothing is being watched." };
  switch (run.phase) {
    case "stopped":
      return { tone: "quiet", text: `Stopped. ${seen(run)}` };
    case "ended":
      return { tone: "bad", text: endedWords(run.ended, run.query) };
    case "starting":
      if (connection.state === "reconnecting") return { tone: "warning", text: `${lostWords(connection.lost)} Trying again by itself; what is here stays.` };
      if (connection.state === "connecting") return { tone: "busy", text: connection.attempt > 0 ? "Connecting again…" : "Connecting to the server…" };
      if (run.held !== undefined) return { tone: "warning", text: `The server cannot take the query now, it is asked again by itself: ${run.held}.` };
      return { tone: "busy", text: "Sending the query…" };
    case "registered":
      return { tone: "busy", text: "The query is known. Waiting until every worker runs it…" };
    case "live":
      return liveWords(run, state.view.time);
  }
}

function liveWords(run: Run, zone: Zone): Sentence {
  const { scanned, matched, lagRecords } = counters(run);
  const since = run.liveSince === undefined ? "Live" : `Live since ${formatTime(run.liveSince, zone)}`;
  if (run.expiring !== undefined) {
    return { tone: "warning", text: `${since}. This query's time ends at ${formatTime(run.expiring, zone)}; press Start then to go on.` };
  }
  if (lagRecords !== undefined && lagRecords > behind) {
    return { tone: "warning", text: `${since}, but ${plural(lagRecords, "event")} behind: what you see is not yet the present.` };
  }
  if (scanned === 0) return { tone: "good", text: `${since}. No event has arrived on the topic yet.` };
  if (matched === 0) return { tone: "good", text: `${since}. ${plural(scanned, "event")} scanned, none matched yet.` };
  return { tone: "good", text: `${since}.` };
}

/** For those who do not see the page: what changed, once, and never the counts. */
export function announcement(state: State): string {
  const { run, paused } = state;
  if (run === undefined) return "";
  if (paused !== undefined) return pausedWords(paused.cause);
  switch (run.phase) {
    case "starting":
    case "registered":
      return run.interrupted ? "Connection lost, trying again" : "Query sent";
    case "live":
      return "Live: new matches appear in the list";
    case "stopped":
      return "Stopped";
    case "ended":
      return endedWords(run.ended, run.query);
  }
}

function seen(run: Run): string {
  const { scanned, matched } = counters(run);
  return `${plural(matched, "match", "matches")} in ${plural(scanned, "event")} scanned.`;
}

export function endedWords(ended: Ended | undefined, query: Query): string {
  if (ended === undefined) return "Ended.";
  switch (ended.reason) {
    case "expired":
      return "The query reached its time to live. Press Start to watch again.";
    case "refused":
      return isAboutFilter(ended.error, query.filter) ? "The filter was refused: what is wrong is marked below it." : `The server refused the query: ${ended.message}`;
    case "deleted":
      return "The standing query was deleted.";
    case "suspended":
      return "The standing query is suspended: nothing is matched until it is switched on again.";
    case "slow":
      return "The server ended the query because this page could not take its matches fast enough. A lower rate or a narrower filter helps.";
    default:
      return `The server ended the query: ${ended.message || ended.reason}`;
  }
}

export function lostWords(lost: Lost): string {
  if (lost.reason !== "") return `The server ended the connection: ${lost.reason}.`;
  if (lost.code === 1012) return "The server is restarting.";
  if (lost.code === 1000 || lost.code === 1001) return "The server closed the connection.";
  return "The connection was lost.";
}

/** Words for a status that becomes a row of the list. */
export function noticeWords(status: Status, { run, pipeline }: State): string | undefined {
  if (run === undefined) return undefined;
  switch (status.status) {
    case "progress":
      // From the totals and not from `dropped`: they hold what the workers left out as well, and each match once.
      return leftOutWords(
        status.leftOut.rate - run.current.leftOutRate,
        status.leftOut.slow - run.current.leftOutSlow,
        rateWords(run.query.rate, pipeline.defaultRate),
      );
    case "gap":
      return gapWords(status);
    case "live":
      return run.interrupted ? "Live again. What matched while the connection was away is not here." : undefined;
    default:
      return undefined;
  }
}

function leftOutWords(overRate: number, slow: number, rate: string): string | undefined {
  const sentences: string[] = [];
  if (overRate > 0) sentences.push(`${plural(overRate, "match", "matches")} left out here: more matched than ${rate}.`);
  if (slow > 0) sentences.push(`${plural(slow, "match", "matches")} left out here: this page or its network was too slow for them.`);
  return sentences.length > 0 ? sentences.join(" ") : undefined;
}

function rateWords(rate: string, defaultRate: number): string {
  const perSecond = rate === "" ? defaultRate : Number(rate);
  return perSecond > 0 ? `the ${plural(perSecond, "match", "matches")} per second this query lets through` : "the server lets through";
}

function gapWords(gap: Gap): string {
  const reasons: Record<string, string> = {
    retention: "Kafka had deleted events before they were read",
    overload: "the server had more to do than it could",
    outage: "a part of the system was away",
    recreated: "the topic was created anew",
    resume: "the connection was away for longer than the server keeps matches",
  };
  const count = gap.ranges.reduce((sum, { from, to }) => sum + Math.max(0, to - from), 0);
  const where = gap.ranges
    .slice(0, 3)
    .map(({ topic, partition, from, to }) => `${topic}/${partition} offsets ${from} to ${to - 1}`)
    .join(", ");
  const more = gap.ranges.length > 3 ? ` and ${gap.ranges.length - 3} more` : "";
  const size = count > 0 ? `${plural(count, "event")} not looked at` : "Events may be missing here";
  return `${size}: ${reasons[gap.reason] ?? gap.reason}${where === "" ? "" : ` (${where}${more})`}.`;
}

export function pausedWords(cause: PauseCause): string {
  switch (cause) {
    case "button":
      return "Paused";
    case "scroll":
      return "Paused while you scroll";
    case "row":
      return "Paused while you read";
  }
}

/** What the list says when it has no row. */
export function emptyWords(state: State): string {
  const { run } = state;
  if (run === undefined) return "";
  if (state.paused !== undefined) return "The rows shown when you paused have made room for newer ones. Resume to see those.";
  if (run.phase === "live") {
    const what = asksForSomething(run.query) ? "The next match" : "The next event";
    return counters(run).scanned === 0 ? `${what} appears here the moment it arrives on the topic.` : `${what} appears here the moment it happens.`;
  }
  return run.phase === "stopped" || run.phase === "ended" ? "No match was seen." : "";
}
