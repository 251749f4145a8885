/** Logger.log and its kin on top of Tracker, for the pages and XBlocks of Open edX that call them. With jQuery and without. */
/** How far the deprecation has gone. */
export type Stage = "off" | "warn" | "warn+report" | "error" | "removed";
type Callback = (...args: unknown[]) => void;
/** Options of jQuery.ajax. Where the event goes to Tracker, these are heeded, and no others. */
export interface RequestOptions {
    /** Called with ("success", "success", request). */
    success?: Callback | Callback[];
    /** Called with (request, "error", ""), where tracker.js is not on the page. */
    error?: Callback | Callback[];
    /** Called with (request, "success" or "error"). */
    complete?: Callback | Callback[];
    /** What callbacks have as `this`; else these options. */
    context?: unknown;
    /** false: callbacks are called before Logger.log returns. */
    async?: boolean;
    [name: string]: unknown;
}
/** As much of jQuery's jqXHR as callers of Logger.log use. With jQuery on the page it has all methods of its promises. */
export interface Request {
    readyState: number;
    status: number;
    statusText: string;
    responseText: string;
    done(...callbacks: (Callback | Callback[])[]): Request;
    fail(...callbacks: (Callback | Callback[])[]): Request;
    always(...callbacks: (Callback | Callback[])[]): Request;
    then(done?: Callback | null, failed?: Callback | null): PromiseLike<unknown>;
    promise(): Request;
    state(): string;
    abort(): Request;
    getResponseHeader(): null;
    getAllResponseHeaders(): string;
}
export declare const Logger: {
    /** Emits an event. Returns what jQuery.ajax did: a request, with done, fail, always and then. */
    log(eventType: string, data?: unknown, element?: unknown, requestOptions?: RequestOptions): Request;
    /** Calls back at events of this type that are logged with this element; with null, without one. */
    listen(eventType: string, element: unknown, callback: Callback): void;
    /** Emits page_close when the page goes, once. On pagehide, not on unload, which switches the back/forward cache off. */
    bind(): void;
};
export {};
