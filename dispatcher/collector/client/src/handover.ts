/** handover.js: takes the events that only a page can hand to a vendor's script, makes the calls, and says so. */

import { newId, toJson } from "./event.js";
import { type Ack, Outcomes, type State, type Status } from "./outcomes.js";
import type { Store } from "./store.js";
import type { Options, Part, Tracker } from "./tracker.js";

/** One event for one destination. */
interface Item {
  id: string;
  destination: string;
  calls: { call: string; arguments: unknown[] }[];
  /** Categories of consent, all of which are needed. */
  consent: string[];
  advertising: boolean;
}

// For how long a vendor's script may take to come, and how many events wait for it.
const PATIENCE = 10000;
const MOST_WAITING = 20;
const LOOK_AGAIN = 250;
const MOST_ACKS = 200;
// Less than proxies give up after.
const POLL_SECONDS = 25;
const FIRST_WAIT = 1000;
const LONGEST_WAIT = 300000;

class Handover implements Part {
  private store!: Store;
  private outcomes!: Outcomes;
  private options!: Options;
  private url = "";
  private visitors: string[] = [];
  /** What is there, and was not made yet: the vendor's script may still come. */
  private waiting = new Map<string, { item: Item; until: number }>();
  /** What this page could not hand over: the next page tries again. */
  private tried = new Set<string>();
  private busy = false;
  private again = false;
  private failures = 0;
  private looking = false;
  private polling = false;

  constructor(private tracker: Tracker) {}

  start(store: Store, options: Options): void {
    this.store = store;
    this.outcomes = new Outcomes(store);
    this.options = options;
    this.url = options.handoverUrl || options.url!.replace(/[^/]*$/, "handover");
    this.change();
    addEventListener("pageshow", (event) => event.persisted && this.ask());
    addEventListener("online", () => this.ask());
  }

  /** Consent was given or taken back. */
  change(): void {
    const decision = this.tracker.decision();
    const own = decision === false ? "" : this.store.read("!visitor") || this.visitors[0] || "p_" + newId().replace(/-/g, "");
    if (decision === false) {
      this.outcomes.forget();
      this.waiting.clear();
    }
    this.know(own ? [own] : []);
    if (decision) this.settle(own).then(() => this.ask());
  }

  /** Has all pages of the browser go by one reference, the first; and ask for what came by another one. */
  private async settle(own: string): Promise<void> {
    await this.outcomes.change(({ visitors }) => !visitors.includes(own) && visitors.push(own));
    if (!this.tracker.decision()) return;
    this.know(this.outcomes.state.visitors);
    this.store.write("!visitor", this.visitors[0]);
  }

  /** Who the page's visitor is: by the browser's own references, and as the app says. */
  private know(own: string[]): void {
    const signed = this.options.visitor || document.querySelector<HTMLMetaElement>('meta[name="dispatcher-visitor"]')?.content;
    this.store.visitors = this.visitors = own.length && signed ? [...own, signed] : own;
  }

  /** The collector's answer to events: their own calls may be in it. */
  answer(said: { handover?: Item[] }): void {
    if (said.handover) this.take(said.handover).then(() => this.ask());
  }

  /** Sends what is to be acknowledged, and takes what waits. One request at a time. */
  private async ask(wait = 0): Promise<void> {
    if (this.busy) {
      this.again = true;
      return;
    }
    this.busy = true;
    let fresh = true;
    do {
      this.again = false;
      if (!this.tracker.decision() || !this.visitors.length || navigator.onLine === false) break;
      let acks: Ack[] = [];
      await this.outcomes.change((state) => ((acks = state.acks.slice(0, MOST_ACKS)), false));
      const body = toJson({ key: this.options.key, visitor: this.visitors, acks, wait });
      let items: Item[] | undefined;
      let seconds = 0;
      try {
        const reply = await fetch(this.url, { method: "POST", body, keepalive: body.length < 30000 && !wait, credentials: "omit", headers: { "Content-Type": "text/plain;charset=UTF-8" } });
        seconds = +(reply.headers.get("Retry-After") || 0);
        if (reply.ok) items = (await reply.json()).events;
        // A reference that is refused will not be taken later: this page has none.
        else if (reply.status === 403 && /^v/.test(this.visitors[this.visitors.length - 1])) this.store.visitors = this.visitors = this.visitors.slice(0, -1);
        else if (reply.status < 429) break;
      } catch {}
      if (items) {
        this.failures = 0;
        const sent = new Set(acks.map(toJson));
        if (acks.length) await this.outcomes.change((state) => (state.acks = state.acks.filter((ack) => !sent.has(toJson(ack)))));
        // What it has seen already, and cannot hand over, would be answered again at once.
        fresh = !items.length || (await this.take(items));
      } else {
        const most = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** this.failures++);
        setTimeout(() => this.ask(), Math.max(seconds * 1000, most * Math.random()));
        break;
      }
      if (this.outcomes.state.acks.length) this.again = true;
    } while (this.again);
    this.busy = false;
    if (this.options.handover === "poll" && !this.failures) this.poll(fresh ? 100 : POLL_SECONDS * 1000);
  }

  /** Asks again with a long wait, for as long as the page is seen. */
  private poll(delay: number): void {
    if (this.polling) return;
    this.polling = true;
    setTimeout(() => {
      this.polling = false;
      if (document.visibilityState === "visible") this.ask(POLL_SECONDS);
      else addEventListener("visibilitychange", () => this.poll(100), { once: true, capture: true });
    }, delay);
  }

  /** Makes the calls of events, each once whatever other tabs do, and notes what became of them. Whether any was new. */
  private async take(items: Item[]): Promise<boolean> {
    let fresh = 0;
    if (items.length) await this.outcomes.change((state) => (fresh = items.filter((item) => this.hand(item, state)).length) > 0);
    if (this.waiting.size && !this.looking) {
      this.looking = true;
      setTimeout(() => {
        this.looking = false;
        this.take([...this.waiting.values()].map(({ item }) => item)).then(() => void (this.outcomes.state.acks.length && this.ask()));
      }, LOOK_AGAIN);
    }
    return !!fresh;
  }

  /** Whether there was anything to do for an event. */
  private hand(item: Item, { handed, acks }: State): boolean {
    const { id, destination } = item;
    const name = `${id} ${destination}`;
    const functions = item.calls.map(({ call }) => find(call));
    let status: Status = "handed";
    if (!handed.includes(name)) {
      if (this.tried.has(name)) return false;
      if (!this.consents(item)) status = "no_consent";
      else if (functions.some((found) => !found)) {
        const known = this.waiting.get(name);
        if (known ? Date.now() < known.until : this.waiting.size < MOST_WAITING) {
          if (!known) this.waiting.set(name, { item, until: Date.now() + PATIENCE });
          return !known;
        }
        status = "not_present";
      } else {
        // Before the calls: a page that ends in between must not make them again.
        this.outcomes.mark(name, true);
        try {
          functions.forEach((found, index) => found!(item.calls[index].arguments));
          handed.push(name);
        } catch (error) {
          console.error(error);
          status = "error";
          this.outcomes.mark(name, false);
        }
      }
      if (status === "not_present" || status === "error") this.tried.add(name);
    }
    acks.push({ id, destination, status });
    this.waiting.delete(name);
    return true;
  }

  private consents(item: Item): boolean {
    const decision = this.tracker.decision();
    if (!decision) return false;
    if (decision === true) return true;
    const refuses = Object.keys(decision).some((category) => /^advertising$/i.test(category) && !decision[category]);
    return item.consent.every((category) => decision[category]) && !(item.advertising && refuses);
  }
}

/** The function at a path from window, bound to what it belongs to; undefined where it is not there. */
function find(path: string): ((args: unknown[]) => void) | undefined {
  const names = path.split(".");
  const last = names.pop()!;
  let owner: any = window;
  try {
    for (const name of names) owner = owner?.[name];
    const found = owner?.[last];
    return typeof found === "function" ? (args) => found.apply(owner, args) : undefined;
  } catch {
    // A getter that throws: as if it were not there.
  }
}

const begin = () => {
  const tracker = window.Tracker;
  // It may be a stub still, or not there yet.
  if (typeof tracker?.use === "function") tracker.use(new Handover(tracker));
  else setTimeout(begin, 50);
};
begin();
