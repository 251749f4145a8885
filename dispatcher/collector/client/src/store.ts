/** The events of a page in localStorage, one key an event: two tabs that rewrite one list lose each other's events. */

import { byteLength, now } from "./event.js";

const MAX_EVENTS = 500;
const MAX_CHARACTERS = 512 * 1024;
export const MAX_EVENT_BYTES = 32 * 1024;
const MAX_AGE = 7 * 864e5;

/** Why events were dropped, and how many. Goes with the next request. */
export type Dropped = Record<string, number>;

export class Store {
  private area: Storage | undefined;
  /** What all its keys in localStorage begin with. */
  readonly prefix: string;
  /** The events of this page that are not acknowledged, by key: all there is where storage is forbidden or full. */
  memory = new Map<string, string>();
  dropped: Dropped = {};
  /** Of handover.js: whose page this is, and what hears the collector's answers. */
  visitors: string[] | undefined;
  part: { answer(said: object): void } | undefined;

  constructor(key: string) {
    this.prefix = `dsp:${key}:`;
    try {
      // The getter itself throws in sandboxed frames and where the site's data is blocked.
      this.area = localStorage;
    } catch {}
    try {
      this.dropped = JSON.parse(this.read("!dropped") || "{}");
    } catch {}
  }

  read(name: string): string | null | undefined {
    try {
      return this.area?.getItem(this.prefix + name);
    } catch {}
  }

  write(name: string, text: string): boolean {
    try {
      this.area!.setItem(this.prefix + name, text);
      return true;
    } catch {
      return false;
    }
  }

  forget(name: string): void {
    try {
      this.area?.removeItem(this.prefix + name);
    } catch {}
  }

  drop(reason: string, count = 1): void {
    this.dropped[reason] = (this.dropped[reason] || 0) + count;
    this.write("!dropped", JSON.stringify(this.dropped));
  }

  /** Takes what a request reported off the counts. */
  reported(counts: Dropped): void {
    for (const reason in counts) if (!(this.dropped[reason] -= counts[reason])) delete this.dropped[reason];
    if (Object.keys(this.dropped).length) this.write("!dropped", JSON.stringify(this.dropped));
    else this.forget("!dropped");
  }

  /** Keeps an event until it is acknowledged. `keep` false: in memory only. */
  add(id: string, text: string, keep: boolean): void {
    if (byteLength(text) > MAX_EVENT_BYTES) return this.drop("size");
    // Its time comes first, so that the keys' order is that of the events.
    const name = `${Math.floor(now()).toString(36)}-${id}`;
    this.memory.set(name, text);
    while (this.memory.size > MAX_EVENTS) this.remove(this.memory.keys().next().value!), this.drop("full");
    if (keep) this.write(name, text);
  }

  remove(name: string): void {
    this.memory.delete(name);
    this.forget(name);
  }

  /** The stored events of pages that are gone, or of other tabs: at least `age` ms old, oldest first. */
  leftovers(age: number): [string, string][] {
    const found: [string, string][] = [];
    try {
      const area = this.area!;
      for (let i = 0; i < area.length; i++) {
        const name = area.key(i)!;
        if (name.startsWith(this.prefix) && name[this.prefix.length] !== "!") found.push([name.slice(this.prefix.length), area.getItem(name)!]);
      }
    } catch {}
    found.sort(([a], [b]) => (a < b ? -1 : 1));
    let characters = found.reduce((sum, [, text]) => sum + text.length, 0);
    while (found.length) {
      const [name, text] = found[0];
      const old = now() - parseInt(name, 36) > MAX_AGE;
      if (!old && found.length <= MAX_EVENTS && characters <= MAX_CHARACTERS) break;
      this.remove(name);
      this.drop(old ? "old" : "full");
      characters -= text.length;
      found.shift();
    }
    return found.filter(([name]) => !this.memory.has(name) && now() - parseInt(name, 36) >= age);
  }

  clear(): void {
    for (const [name] of this.leftovers(0)) this.remove(name);
    for (const name of [...this.memory.keys()]) this.remove(name);
  }

  /** Writes what was held in memory while consent was unknown, with the preferences that were given since. */
  persist(categoryPreferences?: object): void {
    this.memory.forEach((text, name) => {
      if (categoryPreferences) {
        const event = JSON.parse(text);
        event.context = { ...event.context, consent: { categoryPreferences } };
        this.memory.set(name, (text = JSON.stringify(event)));
      }
      this.write(name, text);
    });
  }
}
