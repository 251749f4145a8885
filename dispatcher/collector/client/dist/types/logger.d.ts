/** Logger.log and its kin on top of Tracker, for the pages and XBlocks of Open edX that call them. With jQuery and without. */
/** How far the deprecation has gone. */
export type Stage = "off" | "warn" | "warn+report" | "error" | "removed";
type Callback = (...args: unknown[]) => void;
export interface RequestOptions {
    success?: Callback;
    complete?: Callback;
    [name: string]: unknown;
}
/** As much of jQuery's jqXHR as callers of Logger.log use. */
export interface Request {
    readyState: number;
    status: number;
    done(callback: Callback): Request;
    fail(callback: Callback): Request;
    always(callback: Callback): Request;
    then(done?: Callback): Promise<unknown>;
    abort(): void;
}
export declare const Logger: {
    /** Emits an event. `requestOptions`: success and complete are called; other options of a request have no meaning here. */
    log(eventType: string, data?: unknown, element?: unknown, requestOptions?: RequestOptions): Request;
    /** Calls back at events of this type that are logged with this element; with null, without one. */
    listen(eventType: string, element: unknown, callback: Callback): void;
    /** Emits page_close when the page goes. On pagehide, not on unload, which switches the back/forward cache off. */
    bind(): void;
};
export {};
