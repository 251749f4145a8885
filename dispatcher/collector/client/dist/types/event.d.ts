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
export declare function newId(): string;
/** Milliseconds since 1970 by a clock that a change of the system's clock does not turn back within a page. */
export declare function now(): number;
export declare function iso(time?: number): string;
/** JSON of any value: cycles and functions are left out, big integers become text. Never throws. */
export declare function toJson(value: unknown): string;
/** Bytes in UTF-8: limits of browsers and of the collector count bytes, not characters. */
export declare function byteLength(text: string): number;
