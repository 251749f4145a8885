/** Tracker: what a page calls. Nothing here throws into the page. */

import { type Data, iso, newId, toJson, type WireEvent } from "./event.js";
import { Sender } from "./sender.js";
import { Store } from "./store.js";

/** true: granted. false: denied. null: not known yet. An object: granted, with Segment's category preferences. */
export type Consent = boolean | null | Record<string, boolean>;

export interface Options {
  /** The write key of a source with kind "browser". It is public. */
  key: string;
  /** Where events are posted. */
  url?: string;
  /** Milliseconds that an event waits for others to go with it. */
  delay?: number;
  credentials?: RequestCredentials;
  consent?: Consent | (() => Consent);
  /** What Global Privacy Control and Do Not Track do: refuse the category advertising, send nothing, or nothing. */
  gpc?: "advertising" | "all" | "ignore";
  /** Whether a page view is sent whenever the URL's path or query changes. */
  history?: boolean;
}

export interface EmitOptions {
  /** An id of the caller's own instead of a new one. */
  id?: string;
  context?: Record<string, unknown>;
  element?: unknown;
  timestamp?: string;
  via?: string;
  script?: string;
}

export interface CallOptions {
  messageId?: string;
  timestamp?: string | Date;
  context?: Record<string, unknown>;
  integrations?: Record<string, unknown>;
}

export type Listener = (name: string, data: Data, element: unknown) => void;
type Named = { id?: string; timestamp?: string };
/** What the stub queued: a call's first three arguments. */
type Call = { id: string; timestamp: Date; type: string; name: unknown; data: unknown; o: unknown };

interface User {
  anonymousId: string;
  userId?: string | null;
  traits?: object;
}

const isObject = (value: unknown): value is Record<string, unknown> => !!value && typeof value === "object" && !Array.isArray(value);

export class Tracker {
  private store: Store | undefined;
  private sender: Sender | undefined;
  private options: Options = { key: "" };
  private waiting: WireEvent[] = [];
  private listeners: [string, unknown, Listener][] = [];
  private user: User | undefined;
  private wasAllowed = false;

  /** Starts sending. What was emitted before goes too. A second call is ignored. */
  init(options: Options): this {
    if (this.store || !options.key) return this;
    this.options = { url: "/v1/events", delay: 2000, credentials: "same-origin", gpc: "advertising", ...options };
    const store = (this.store = new Store(options.key));
    const sender = (this.sender = new Sender(store, options.key, this.options.url!, this.options.delay!, this.options.credentials!, () => this.allowed()));
    this.check();
    this.waiting.splice(0).forEach((event) => this.queue(event));
    // Never unload or beforeunload: they switch the back/forward cache off, and phones do not fire them.
    addEventListener("visibilitychange", () => (document.visibilityState === "hidden" ? sender.leave() : sender.flush()), true);
    addEventListener("pagehide", () => sender.leave(), true);
    addEventListener("pageshow", (event) => event.persisted && sender.resume());
    addEventListener("online", () => sender.resume());
    sender.replay(0);
    // Another tab may have crashed. Its events are ten seconds old by then, and nobody else's.
    setInterval(() => sender.replay(10000), 30000);
    if (this.options.history) this.watch();
    return this;
  }

  /** Emits an event of the tracking log. Returns its id, which it keeps on its whole way. */
  emit(name: string, data?: Data, options: EmitOptions = {}): string {
    const { element, id, timestamp, ...rest } = options || {};
    const event: WireEvent = { id: id || newId(), timestamp: timestamp || iso(), name: "" + name, data, page: location.href, ...rest };
    this.queue(event);
    for (const [wanted, where, listener] of this.listeners.slice())
      if (wanted === name && (where === undefined || (where === null ? !element : where === element)))
        try {
          listener(name, data, element);
        } catch (error) {
          console.error(error);
        }
    return event.id;
  }

  /** Calls back at each event of this name: with an element, only at those emitted for it; with null, for none. */
  on(name: string, element: unknown, listener?: Listener): () => void {
    const entry: [string, unknown, Listener] = listener ? [name, element, listener] : [name, undefined, element as Listener];
    this.listeners.push(entry);
    return () => {
      this.listeners = this.listeners.filter((other) => other !== entry);
    };
  }

  /** To Segment only, as analytics.track. */
  track(name: string, properties?: object, options?: CallOptions, callback?: () => void): string {
    return this.call({ type: "track", name, data: properties || {} }, options, callback);
  }

  /** As analytics.page: (category, name, properties, options), each optional. */
  page(...args: unknown[]): string {
    const texts = args.filter((arg) => typeof arg === "string") as string[];
    const objects = args.filter(isObject);
    const name = texts.length > 1 ? texts[1] : texts[0];
    const view = { path: location.pathname, referrer: document.referrer, search: location.search, title: document.title, url: location.href };
    const category = texts.length > 1 ? texts[0] : undefined;
    return this.call({ type: "page", name, category, data: { ...view, ...objects[0] } }, objects[1], args.find((arg) => typeof arg === "function") as () => void);
  }

  /** As analytics.identify: (userId, traits, options), the id optional. */
  identify(...args: unknown[]): string {
    const known = typeof args[0] === "string" || typeof args[0] === "number" ? "" + args.shift() : undefined;
    if (args[0] === null || args[0] === undefined) args.shift();
    const user = this.who();
    // Another user's traits are not this one's.
    if (known && known !== user.userId) user.traits = {};
    if (known) user.userId = known;
    user.traits = { ...user.traits, ...(isObject(args[0]) ? args[0] : {}) };
    this.keepUser();
    return this.call({ type: "identify", name: known, data: user.traits }, args[1] as CallOptions, args.find((arg) => typeof arg === "function") as () => void);
  }

  /** Forgets the user, at log-out. */
  reset(): void {
    this.user = undefined;
    this.store?.forget("!user");
  }

  /** Tells what the user decided. false clears what is stored. */
  consent(value: Consent): void {
    this.options.consent = value;
    this.check();
  }

  /** Whether this browser never sends; kept between pages. */
  optOut(out = true): void {
    if (out) this.store?.write("!out", "1");
    else this.store?.forget("!out");
    this.check();
  }

  /** Sends now. Resolves when nothing waits any more or the collector cannot be reached. */
  async flush(): Promise<void> {
    await this.sender?.flush();
  }

  /** Issues the calls that a stub queued before the script was there, under the ids that it gave. */
  drain(calls: Call[]): void {
    for (const { type, name, data, o, id, timestamp } of calls.splice(0)) {
      const given = { id, timestamp: timestamp.toISOString() };
      if (type === "emit") this.emit(name as string, data, { ...(o as EmitOptions), ...given });
      else this.named(type, [name, data, o], given);
    }
  }

  private preset: Named | undefined;

  private named(method: string, args: unknown[], preset: Named): void {
    this.preset = preset;
    (this as unknown as Record<string, (...args: unknown[]) => unknown>)[method](...args);
    this.preset = undefined;
  }

  private call(event: Partial<WireEvent>, options: CallOptions | (() => void) = {}, callback?: () => void): string {
    const { messageId, timestamp, context, integrations } = (isObject(options) ? options : {}) as CallOptions;
    const { anonymousId, userId } = this.who();
    const id = messageId || this.preset?.id || newId();
    const at = timestamp ? iso(+new Date(timestamp) || undefined) : this.preset?.timestamp || iso();
    this.queue({ id, timestamp: at, ...event, anonymousId, userId, page: location.href, context, integrations });
    const after = typeof options === "function" ? options : callback;
    if (typeof after === "function") setTimeout(after, 0);
    return id;
  }

  private who(): User {
    if (!this.user)
      try {
        this.user = JSON.parse(this.store?.read("!user") || "");
      } catch {}
    if (!this.user) {
      this.user = { anonymousId: newId() };
      this.keepUser();
    }
    return this.user!;
  }

  private keepUser(): void {
    if (this.allowed()) this.store?.write("!user", toJson(this.user));
  }

  private decision(): Consent {
    const { consent, gpc } = this.options;
    let value: Consent | undefined = null;
    try {
      value = typeof consent === "function" ? consent() : consent;
    } catch {}
    const page = navigator as Navigator & { globalPrivacyControl?: boolean };
    const asked = gpc !== "ignore" && (page.globalPrivacyControl || page.doNotTrack === "1");
    if (this.store?.read("!out") || (asked && gpc === "all")) return false;
    if (asked && value !== false && value !== null) return { ...(isObject(value) ? value : {}), advertising: false };
    return value === undefined ? true : value;
  }

  private allowed(): boolean {
    return !!this.store && !!this.decision();
  }

  private check(): void {
    const value = this.decision();
    if (value === false) this.store?.clear(), this.reset(), this.sender?.cancel();
    // Whom the page knew while consent was unknown is the same person on the next page.
    if (value && this.user && !this.store?.read("!user")) this.keepUser();
    if (value && !this.wasAllowed) this.store?.persist(isObject(value) ? value : undefined), this.sender?.wake();
    this.wasAllowed = !!value;
  }

  private queue(event: WireEvent): void {
    if (!this.store) {
      // Without a key there is nowhere to send it to yet.
      if (this.waiting.push(event) > 500) this.waiting.shift();
      return;
    }
    const consent = this.decision();
    if (consent === false) return;
    // Here, not in emit: before init it is not known whom the browser remembers, and without consent nobody is asked for.
    if (!event.type) event.anonymousId = this.who().anonymousId;
    const context: Record<string, unknown> = { ...event.context };
    if (isObject(consent)) context.consent = { categoryPreferences: consent };
    if (navigator.webdriver) context.webdriver = true;
    let text = toJson({ ...event, context: Object.keys(context).length ? context : undefined });
    // A value whose own toJSON or getter throws: the event goes without it.
    if (text === "null") text = toJson({ ...event, data: null, context: undefined });
    this.store.add(event.id, text, !!consent);
    this.sender!.wake();
  }

  private watch(): void {
    let last = location.pathname + location.search;
    const look = () => {
      const here = location.pathname + location.search;
      if (here !== last) (last = here), this.page();
    };
    // Routers call replaceState with the same path first: only a URL that differs is a page.
    const push = history.pushState;
    history.pushState = function (...args) {
      push.apply(this, args);
      setTimeout(look, 0);
    };
    addEventListener("popstate", look);
  }
}
