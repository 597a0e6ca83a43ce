import type { Zone } from "./query/view";

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en", { maximumFractionDigits: 1, minimumFractionDigits: 1 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** `12,340` */
export function formatCount(count: number): string {
  return whole.format(count);
}

/** `<0.1/s`, `0.4/s`, `203/s`, `1.2K/s`; nothing when there is no rate. */
export function formatRate(perSecond: number | undefined): string {
  if (perSecond === undefined) return "";
  if (perSecond > 0 && perSecond < 0.05) return "<0.1/s";
  if (perSecond >= 10_000) return `${compact.format(perSecond)}/s`;
  return `${perSecond === 0 || perSecond >= 10 ? whole.format(perSecond) : tenths.format(perSecond)}/s`;
}

/** Time of day, `12:03:07`; the text itself when it is no time. */
export function formatTime(rfc3339: string, zone: Zone): string {
  const time = new Date(rfc3339);
  return Number.isNaN(time.getTime()) ? rfc3339 : clock(time, zone);
}

/** Time of day with milliseconds, `12:03:07.120`. */
export function formatMillis(rfc3339: string, zone: Zone): string {
  const time = new Date(rfc3339);
  return Number.isNaN(time.getTime()) ? rfc3339 : `${clock(time, zone)}.${String(time.getMilliseconds()).padStart(3, "0")}`;
}

/** `1 event`, `2 events` */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${formatCount(count)} ${count === 1 ? one : many}`;
}

function clock(time: Date, zone: Zone): string {
  const parts = zone === "utc" ? [time.getUTCHours(), time.getUTCMinutes(), time.getUTCSeconds()] : [time.getHours(), time.getMinutes(), time.getSeconds()];
  return parts.map((part) => String(part).padStart(2, "0")).join(":");
}

/**
 * Text of an event, as it may be shown: what has no shape of its own, and what would turn the writing around, is shown
 * by a sign or its number.
 */
export function visible(text: string): string {
  return text.replace(/[\p{Cc}\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]/gu, (char) => {
    const code = char.charCodeAt(0);
    if (code < 0x20) return String.fromCharCode(0x2400 + code);
    return code === 0x7f ? "\u2421" : `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
  });
}
