export type Transport = "websocket" | "sockjs";

const firstDelay = 500;
const longestDelay = 15_000;

/**
 * Milliseconds to wait before try number `attempt` (from 1) after a lost connection.
 * Doubles up to 15 s; half of it is chance, so that viewers of a restarted server do not come back all at once.
 */
export function retryDelay(attempt: number, random: number): number {
  const ceiling = Math.min(longestDelay, firstDelay * 2 ** Math.min(attempt - 1, 10));
  return Math.round(ceiling / 2 + (ceiling / 2) * random);
}

/**
 * Which transport a try takes. What connected last is tried twice more; after that, and before anything has
 * connected, WebSocket and SockJS take turns, since a proxy may let only one of them through.
 *
 * `failures`: tries since something connected.
 */
export function nextTransport(failures: number, lastGood: Transport | undefined, onlySockJs: boolean): Transport {
  if (onlySockJs) return "sockjs";
  if (lastGood !== undefined && failures < 2) return lastGood;
  return failures % 2 === 0 ? "websocket" : "sockjs";
}
