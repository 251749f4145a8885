/** Logger.log and its kin on top of Tracker, for the pages and XBlocks of Open edX that call them. With jQuery and without. */

import type { Tracker } from "./tracker.js";

/** How far the deprecation has gone. */
export type Stage = "off" | "warn" | "warn+report" | "error" | "removed";

type Callback = (...args: unknown[]) => void;
interface Page {
  /** A stub has q, and keeps calls until the script is there. */
  Tracker?: Tracker & { q?: unknown };
  Logger?: unknown;
  log_event?: unknown;
  $?: JQuery;
  jQuery?: JQuery;
  dispatcherLogger?: { stage?: string; help?: string };
}
interface JQuery {
  Deferred?: () => JQueryDeferred;
  ajaxWithPrefix?: (options: object) => Request;
  ajax?: (options: object) => Request;
  extend?: (deep: boolean, ...objects: object[]) => object;
}
interface JQueryDeferred {
  resolveWith(context: unknown, args: unknown[]): void;
  rejectWith(context: unknown, args: unknown[]): void;
  promise(target: object): Request;
}
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

// Pages of Open edX declare it, not always as a property of window.
declare const $$course_id: string | undefined;
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

/** The course of the page, if it says one. */
function course(): string | undefined {
  return typeof $$course_id === "undefined" ? undefined : $$course_id;
}

/** Whether what was logged for `element` is for who listens for `wanted`: a thing is itself, also wrapped by jQuery; others are what they read. */
function same(wanted: unknown, element: unknown): boolean {
  const plain = (value: any) => (value && value.jquery ? value[0] : value);
  const [one, other] = [plain(wanted), plain(element)];
  if (!one || !other) return !one && !other;
  return one === other || (typeof one !== "object" && typeof other !== "object" && "" + one === "" + other);
}

/** What Logger.log returns: a request that is answered already, as the event is stored by now. That is as much as a page can wait for. */
function answer(options: RequestOptions = {}, ok = true): Request {
  const self = options.context || options;
  const status = ok ? "success" : "error";
  const later = (work: () => void) => (options.async === false ? work() : void setTimeout(work));
  const request = { readyState: 4, status: ok ? 200 : 0, statusText: status, responseText: ok ? status : "" } as Request;
  request.abort = () => request;
  request.getResponseHeader = () => null;
  request.getAllResponseHeaders = () => "";
  const args = ok ? [status, status, request] : [request, status, ""];
  const call = (callbacks: unknown[], given: unknown[] = args) => {
    for (const callback of callbacks.flat()) if (typeof callback === "function") later(() => callback.apply(self, given));
    return request;
  };
  const deferred = jquery()?.Deferred?.();
  if (deferred) {
    deferred.promise(request);
    later(() => (ok ? deferred.resolveWith(self, args) : deferred.rejectWith(self, args)));
  } else {
    request.done = (...callbacks) => (ok ? call(callbacks) : request);
    request.fail = (...callbacks) => (ok ? request : call(callbacks));
    request.always = (...callbacks) => call(callbacks);
    request.then = (done, failed) => {
      const settled = ok ? Promise.resolve(status) : Promise.reject(request);
      return settled.then(done && (() => done.apply(self, args)), failed && (() => failed.apply(self, args)));
    };
    request.promise = () => request;
    request.state = () => (ok ? "resolved" : "rejected");
  }
  request.done([options.success!].flat()).fail([options.error!].flat());
  return request.always(() => call([options.complete], [request, status]));
}

function jquery(): JQuery | undefined {
  return page.jQuery || page.$;
}

/** Whether Logger.log makes the request that it made before: where the page asks for it, and where there is nothing better. */
function isAjax(): boolean {
  return (settings.transport === "ajax" || !page.Tracker?.emit) && !!jquery()?.extend;
}

/** Edx's own request by jQuery, with the prefix of its paths if the page has one. */
function ajax(body: object, options: object = {}): Request {
  const $ = jquery()!;
  const all = $.extend!(true, { url: "/event", type: "POST", data: body, async: true }, options);
  return $.ajaxWithPrefix ? $.ajaxWithPrefix(all) : $.ajax!(all);
}

/** Calls listeners that Tracker does not know. */
function tell(eventType: string, data: unknown, element: unknown): void {
  for (const [wanted, where, callback] of listeners.slice())
    if (wanted === eventType && same(where, element))
      try {
        callback(eventType, data, element || null);
      } catch (error) {
        console.error(error);
      }
}

let isBound = false;

export const Logger = {
  /** Emits an event. Returns what jQuery.ajax did: a request, with done, fail, always and then. */
  log(eventType: string, data?: unknown, element?: unknown, requestOptions?: RequestOptions): Request {
    const told = deprecated("Logger.log", "Tracker.emit", eventType);
    if (isAjax()) {
      tell(eventType, data, element);
      return ajax({ event_type: eventType, event: JSON.stringify(data), courserun_key: course(), page: location.href }, requestOptions);
    }
    const key = course();
    // The event is stored before listeners are called: they are the page's, and may do anything.
    const context = key ? { courserun_key: key } : undefined;
    // A stub makes JSON of all that it keeps, which elements of a page are not always fit for.
    page.Tracker?.emit(eventType, data, { context, ...told, ...(page.Tracker.q ? {} : { element }) });
    if (!page.Tracker) console.error(`Logger.log(${JSON.stringify(eventType)}) is lost: tracker.js is not on the page, and jQuery is not either`);
    tell(eventType, data, element);
    return answer(requestOptions || {}, !!page.Tracker);
  },

  /** Calls back at events of this type that are logged with this element; with null, without one. */
  listen(eventType: string, element: unknown, callback: Callback): void {
    deprecated("Logger.listen", "Tracker.on", eventType);
    // There it hears Tracker.emit too, so that callers and listeners can change one by one.
    if (!isAjax() && page.Tracker?.on && !page.Tracker.q)
      page.Tracker.on(eventType, (name: string, data: unknown, given: unknown) => {
        if (same(element, given)) callback(name, data, given || null);
      });
    else listeners.push([eventType, element, callback]);
  },

  /** Emits page_close when the page goes, once. On pagehide, not on unload, which switches the back/forward cache off. */
  bind(): void {
    if (isBound) return;
    isBound = true;
    addEventListener("pagehide", () => {
      if (!isAjax()) return page.Tracker?.emit("page_close", {});
      // jQuery knows the address, and makes requests that a page's end cuts off.
      const beforeSend = (_: unknown, { url }: { url: string }) => (fetch(url, { keepalive: true }).catch(() => undefined), false);
      ajax({ event_type: "page_close", event: "", page: location.href }, { type: "GET", beforeSend });
    });
  },
};

if (stage !== "removed") {
  page.Logger = Logger;
  page.log_event = Logger.log;
}
