/** What goes over the wire, and the values that every event gets in the page: its id, its time, its text. */

/** Values that JSON can say. What it cannot say (functions, cycles) is left out. */
export type Data = unknown;

/** One item of a request to the events path. Without a type it is an event of the tracking log. */
export interface WireEvent {
  id: string;
  timestamp: string;
  /** Segment's calls, which go to Segment only. */
  type?: "track" | "page" | "identify";
  /** The event's name; for `page` the page's name, for `identify` the user's id. */
  name?: string;
  /** The event's data; for `track` and `page` the properties, for `identify` the traits. */
  data?: Data;
  category?: string;
  userId?: string | null;
  anonymousId?: string;
  /** Where it happened: the URL of the page. */
  page?: string;
  context?: Record<string, unknown>;
  integrations?: Record<string, unknown>;
  /** By which old call it came, and from which script. */
  via?: string;
  script?: string;
}

/** 128 random bits as a UUID of version 4. crypto.randomUUID does not exist on http pages; this does everywhere. */
export function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 15) | 64;
  bytes[8] = (bytes[8] & 63) | 128;
  return Array.from(bytes, (byte, i) => ([4, 6, 8, 10].includes(i) ? "-" : "") + (byte + 256).toString(16).slice(1)).join("");
}

let anchor = Date.now() - performance.now();

/** Milliseconds since 1970 by a clock that a change of the system's clock does not turn back within a page. */
export function now(): number {
  const steady = anchor + performance.now();
  // The steady clock stands still while some machines sleep: a minute behind means that it did.
  if (Date.now() - steady > 60000) anchor = Date.now() - performance.now();
  return anchor + performance.now();
}

export function iso(time = now()): string {
  return new Date(time).toISOString();
}

/** JSON of any value: cycles and functions are left out, big integers become text. Never throws. */
export function toJson(value: unknown): string {
  try {
    return JSON.stringify(value, (_, part) => (typeof part === "bigint" ? "" + part : part));
  } catch {
    const above: unknown[] = [];
    try {
      return JSON.stringify(value, function (this: unknown, _, part) {
        if (typeof part === "bigint") return "" + part;
        if (!part || typeof part !== "object") return part;
        while (above.length && above[above.length - 1] !== this) above.pop();
        if (above.includes(part)) return undefined;
        above.push(part);
        return part;
      });
    } catch {
      return "null";
    }
  }
}

const encoder = new TextEncoder();

/** Bytes in UTF-8: limits of browsers and of the collector count bytes, not characters. */
export function byteLength(text: string): number {
  return encoder.encode(text).length;
}
