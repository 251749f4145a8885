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
  /** What Global Privacy Control and Do Not Track do: refuse these categories of consent (several by commas, in any case), send nothing ("all"), or nothing ("ignore"). */
  gpc?: string;
  /** Whether a page view is sent whenever the URL's path or query changes. */
  history?: boolean;
  /** For handover.js: who is signed in, as the app's page_reference says; and whether the page waits for events. */
  visitor?: string;
  handover?: "poll";
  handoverUrl?: string;
}

/** What another file of the client adds: handover.js. */
export interface Part {
  start(store: Store, options: Options): void;
  change(): void;
  answer(said: object): void;
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

/** Whom this browser is known as. */
export interface User {
  anonymousId: string;
  userId?: string | null;
  traits?: object;
}

const isObject = (value: unknown): value is Record<string, unknown> => !!value && typeof value === "object" && !Array.isArray(value);

export class Tracker {
  private store: Store | undefined;
  private sender: Sender | undefined;
  private options: Options = { key: "" };
  /** What was called before init: it is not known then whom the browser remembers, and where events go. */
  private early: (() => void)[] = [];
  private listeners: [string, unknown, Listener][] = [];
  private known: User | undefined;
  private wasAllowed = false;
  private part: Part | undefined;

  /** Starts sending. What was emitted before goes too. A second call is ignored. */
  init(options: Options): this {
    if (this.store || !options.key) return this;
    const consent = options.consent === undefined ? this.options.consent : options.consent;
    this.options = { url: "/v1/events", delay: 2000, credentials: "same-origin", gpc: "Advertising", ...options, consent };
    const store = (this.store = new Store(options.key));
    const sender = (this.sender = new Sender(store, options.key, this.options.url!, this.options.delay!, this.options.credentials!, () => this.allowed()));
    if (this.part) this.use(this.part);
    this.check();
    this.early.splice(0).forEach((work) => work());
    // Never unload or beforeunload: they switch the back/forward cache off, and phones do not fire them.
    addEventListener("visibilitychange", () => (document.visibilityState === "hidden" ? sender.leave() : sender.flush()), true);
    addEventListener("pagehide", () => sender.leave(), true);
    addEventListener("pageshow", (event) => event.persisted && sender.resume());
    addEventListener("online", () => sender.resume());
    // Who logs in or out in another tab does so here too. Nothing is read while only memory may know anybody.
    addEventListener("storage", ({ key }) => {
      if ((!key || key === store.prefix + "!user") && this.allowed()) this.known = undefined;
    });
    sender.replay(0);
    // Another tab may have crashed. Its events are ten seconds old by then, and nobody else's.
    setInterval(() => sender.replay(10000), 30000);
    if (this.options.history) this.watch();
    return this;
  }

  /** Adds a part, which is started with the tracker. */
  use(part: Part): void {
    this.part = part;
    if (this.store) (this.store.part = part), part.start(this.store, this.options);
  }

  /** Emits an event of the tracking log. Returns its id, which it keeps on its whole way. */
  emit(name: string, data?: Data, options: EmitOptions = {}): string {
    const { element, id, timestamp, ...rest } = options || {};
    const event: WireEvent = { id: id ? "" + id : newId(), timestamp: timestamp || iso(), name: "" + name, data, page: location.href, ...rest };
    this.ready(() => this.queue(event));
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
    const event: Partial<WireEvent> = { type: "identify", name: known };
    const given = isObject(args[0]) ? args[0] : {};
    return this.call(event, args[1] as CallOptions, args.find((arg) => typeof arg === "function") as () => void, () => {
      const user = this.user();
      // Another user's traits are not this one's.
      if (known && known !== user.userId) user.traits = {};
      if (known) user.userId = known;
      event.data = user.traits = { ...user.traits, ...given };
      this.keepUser();
    });
  }

  /** Whom this browser is known as. Before init nothing is known. */
  user(): User {
    let user = this.known;
    if (!user) {
      try {
        user = JSON.parse(this.store!.read("!user") || "");
      } catch {}
      if (!isObject(user) || !user.anonymousId) user = { anonymousId: newId() };
      if (this.store) (this.known = user), this.keepUser();
    }
    return user as User;
  }

  /** Forgets the user, at log-out. */
  reset(): void {
    this.ready(() => {
      this.known = undefined;
      this.store!.forget("!user");
    });
  }

  /** Tells what the user decided. false clears what is stored. */
  consent(value: Consent): void {
    this.options.consent = value;
    this.check();
  }

  /** Whether this browser never sends; kept between pages. */
  optOut(out = true): void {
    this.ready(() => {
      if (out) this.store!.write("!out", "1");
      else this.store!.forget("!out");
      this.check();
    });
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

  private ready(work: () => void): void {
    if (this.store) work();
    else if (this.early.push(work) > 500) this.early.shift();
  }

  /** `change` comes before the event, when it is known whom the browser remembers. */
  private call(event: Partial<WireEvent>, options: CallOptions | (() => void) = {}, callback?: () => void, change?: () => void): string {
    const { messageId, timestamp, context, integrations } = (isObject(options) ? options : {}) as CallOptions;
    const id = messageId ? "" + messageId : this.preset?.id || newId();
    const at = timestamp ? iso(+new Date(timestamp) || undefined) : this.preset?.timestamp || iso();
    const page = location.href;
    this.ready(() => {
      change?.();
      const { anonymousId, userId } = this.user();
      this.queue({ id, timestamp: at, ...event, anonymousId, userId, page, context, integrations });
    });
    const after = typeof options === "function" ? options : callback;
    if (typeof after === "function") setTimeout(after, 0);
    return id;
  }

  private keepUser(): void {
    if (this.allowed()) this.store?.write("!user", toJson(this.known));
  }

  /** What the user decided, as far as it is known. */
  decision(): Consent {
    const { consent, gpc } = this.options;
    let value: Consent | undefined = null;
    try {
      value = typeof consent === "function" ? consent() : consent;
    } catch {}
    const page = navigator as Navigator & { globalPrivacyControl?: boolean };
    const asked = gpc !== "ignore" && (page.globalPrivacyControl || page.doNotTrack === "1");
    if (this.store?.read("!out") || (asked && gpc === "all")) return false;
    if (asked && value !== false && value !== null) {
      const preferences: Record<string, boolean> = isObject(value) ? { ...value } : {};
      for (const refused of gpc!.split(",")) {
        // Servers look at upper and lower case: refused is what the page's own categories are called.
        const same = Object.keys(preferences).filter((category) => category.toLowerCase() === refused.toLowerCase());
        for (const category of same.length ? same : [refused]) preferences[category] = false;
      }
      return preferences;
    }
    return value === undefined ? true : value;
  }

  private allowed(): boolean {
    return !!this.store && !!this.decision();
  }

  private check(): void {
    if (!this.store) return;
    const value = this.decision();
    if (value === false) this.store.clear(), this.reset(), this.sender!.cancel();
    // Whom the page knew while consent was unknown is the same person on the next page.
    if (value && this.known && !this.store.read("!user")) this.keepUser();
    if (value && !this.wasAllowed) this.store.persist(isObject(value) ? value : undefined), this.sender!.wake();
    if (!value !== !this.wasAllowed) this.part?.change();
    this.wasAllowed = !!value;
  }

  private queue(event: WireEvent): void {
    const consent = this.decision();
    if (consent === false) return;
    // Here, not in emit: without consent nobody is asked for.
    if (!event.type) event.anonymousId = this.user().anonymousId;
    const context: Record<string, unknown> = { ...event.context };
    if (isObject(consent)) context.consent = { categoryPreferences: consent };
    if (navigator.webdriver) context.webdriver = true;
    let text = toJson({ ...event, context: Object.keys(context).length ? context : undefined });
    // A value whose own toJSON or getter throws: the event goes without it.
    if (text === "null") text = toJson({ ...event, data: null, context: undefined });
    this.store!.add(event.id, text, !!consent);
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
