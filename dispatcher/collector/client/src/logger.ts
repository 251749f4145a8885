/** Logger.log and its kin on top of Tracker, for the pages and XBlocks of Open edX that call them. With jQuery and without. */

import type { Tracker } from "./tracker.js";

/** How far the deprecation has gone. */
export type Stage = "off" | "warn" | "warn+report" | "error" | "removed";

type Callback = (...args: unknown[]) => void;
interface Page {
  Tracker?: Tracker;
  Logger?: unknown;
  log_event?: unknown;
  $?: JQuery;
  jQuery?: JQuery;
  $$course_id?: string;
  dispatcherLogger?: { stage?: string; help?: string };
}
interface JQuery {
  Deferred?: () => { resolve(...args: unknown[]): { promise(): Request } };
  ajaxWithPrefix?: (options: object) => Request;
  ajax?: (options: object) => Request;
  extend?: (deep: boolean, ...objects: object[]) => object;
}
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

const page = window as unknown as Page;
const self = document.currentScript as HTMLScriptElement | null;
const own = (self?.src || "").replace(/[?#].*/, "");
const settings = self?.dataset || {};
// What the page says counts before what the collector says, which writes it in front of this file.
const shared = page.dispatcherLogger || {};
const stage = (settings.stage || shared.stage || "warn+report") as Stage;
const help = new URL(settings.help || shared.help || "logger-help.html", own || location.href).href;
const warned = new Set<string>();
const listeners: [string, unknown, Callback][] = [];

/** The URL of the script that called, without query; of the page for scripts within it. */
function caller(): string {
  for (const line of (new Error().stack || "").split("\n")) {
    const url = /(?:https?|file):\/\/[^\s)?#]+?(?=[?#]|(?::\d+){1,2}\)?$|\)?$)/.exec(line.trim())?.[0];
    if (url && url !== own) return url;
  }
  return location.origin + location.pathname;
}

/** Warns once for each name and calling script. Returns what the event tells of its way here. */
function deprecated(call: string, successor: string, name: string): { via?: string; script?: string } {
  if (stage === "off") return {};
  const script = caller();
  const seen = `${call} ${name} ${script}`;
  if (stage === "error" || !warned.has(seen)) {
    warned.add(seen);
    const text = `${call}(${name && JSON.stringify(name)}) in ${script} is deprecated. Use ${successor} instead. See ${help}`;
    if (stage === "error") console.error(text);
    else console.warn(text);
  }
  return stage === "warn" ? {} : { via: call, script };
}

function answer(options: RequestOptions = {}): Request {
  // The event is stored by now, which is as much as a page can wait for.
  const call = (callback?: unknown) => typeof callback === "function" && callback("", "success", request);
  const request: Request = {
    readyState: 4,
    status: 200,
    done: (callback) => (call(callback), request),
    always: (callback) => (call(callback), request),
    fail: () => request,
    then: (done) => Promise.resolve(done?.("", "success", request)),
    abort: () => undefined,
  };
  setTimeout(() => (call(options.success), call(options.complete)), 0);
  return request;
}

/** The request that Logger.log made before: for pages whose own code looks at it (data-transport="ajax"). */
function ajax(name: string, data: unknown, options: RequestOptions | undefined): Request {
  const $ = (page.jQuery || page.$)!;
  const body = { event_type: name, event: data === undefined ? undefined : JSON.stringify(data), courserun_key: page.$$course_id, page: location.href };
  const all = $.extend!(true, { url: "/event", type: "POST", data: body, async: true }, options || {});
  return $.ajaxWithPrefix ? $.ajaxWithPrefix(all) : $.ajax!(all);
}

export const Logger = {
  /** Emits an event. `requestOptions`: success and complete are called; other options of a request have no meaning here. */
  log(eventType: string, data?: unknown, element?: unknown, requestOptions?: RequestOptions): Request {
    const told = deprecated("Logger.log", "Tracker.emit", eventType);
    let request: Request;
    if (settings.transport === "ajax" && (page.jQuery || page.$)?.extend) request = ajax(eventType, data, requestOptions);
    else {
      const context = page.$$course_id ? { courserun_key: page.$$course_id } : undefined;
      page.Tracker?.emit(eventType, data, { context, element, ...told });
      request = answer(requestOptions);
    }
    // Listeners for null hear only what has no element: so it has always been.
    for (const [wanted, where, callback] of listeners.slice())
      if (wanted === eventType && (element ? where === element : !where))
        try {
          callback(eventType, data, element);
        } catch (error) {
          console.error(error);
        }
    return request;
  },

  /** Calls back at events of this type that are logged with this element; with null, without one. */
  listen(eventType: string, element: unknown, callback: Callback): void {
    deprecated("Logger.listen", "Tracker.on", eventType);
    // There it hears Tracker.emit too, so that callers and listeners can change one by one.
    if (settings.transport !== "ajax" && page.Tracker?.on) page.Tracker.on(eventType, element || null, callback);
    else listeners.push([eventType, element, callback]);
  },

  /** Emits page_close when the page goes. On pagehide, not on unload, which switches the back/forward cache off. */
  bind(): void {
    addEventListener("pagehide", () => page.Tracker?.emit("page_close", ""));
  },
};

if (stage !== "removed") {
  page.Logger = Logger;
  page.log_event = Logger.log;
}
