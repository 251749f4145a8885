/** Sends events in requests that need no preflight and outlive the page, until the collector's answer was read. */

import { iso, byteLength, newId } from "./event.js";
import type { Store } from "./store.js";

// The quota of a page for keepalive requests is 64 KiB in flight, headers aside, and holds until the answer's body is read.
const MAX_BODY = 60000;
const QUOTA = 65536;
const MAX_BATCH = 100;
const FIRST_WAIT = 1000;
const LONGEST_WAIT = 300000;
const LEASE = 10000;

interface Later {
  activated: boolean;
}
/** Of dispatcher; the build puts it in. Operators see which versions are still around. */
declare const VERSION: string;
declare const fetchLater: ((url: string, options: object) => Later) | undefined;

/** An event by its key in the store. */
type Entry = [name: string, text: string];

export class Sender {
  private flying = new Set<string>();
  private quota = 0;
  private failures = 0;
  private notBefore = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private timerAt = 0;
  private abortLater: AbortController | undefined;
  private tab = newId();

  constructor(
    private store: Store,
    private key: string,
    private url: string,
    private delay: number,
    private credentials: RequestCredentials,
    /** Whether events may be sent now: consent, opt-out. */
    private allowed: () => boolean,
  ) {}

  private pending(): Entry[] {
    return [...this.store.memory].filter(([name]) => !this.flying.has(name));
  }

  private body(entries: Entry[]): string {
    // Events are JSON already; joined as text, each is encoded once.
    const visitor = this.store.visitors || this.store.read("!visitor");
    return `{"key":${JSON.stringify(this.key)},${visitor ? `"visitor":${JSON.stringify(visitor)},` : ""}"version":"${VERSION}","sentAt":"${iso()}","dropped":${JSON.stringify(this.store.dropped)},"events":[${entries.map((e) => e[1]).join()}]}`;
  }

  /** As many events from the front as fit into one request. At least one. */
  private cut(entries: Entry[], room = MAX_BODY): Entry[] {
    let bytes = 300;
    let count = 0;
    for (const [, text] of entries) {
      bytes += byteLength(text) + 1;
      if ((count && bytes > room) || count >= MAX_BATCH) break;
      count++;
    }
    return entries.slice(0, count);
  }

  /** Something was queued: send soon, or at once while the page is going. */
  wake(): void {
    this.arm();
    if (document.visibilityState === "hidden") this.leave();
    else this.schedule(this.pending().length < 10 ? this.delay : 0);
  }

  private schedule(wait: number): void {
    const at = Math.max(Date.now() + wait, this.notBefore);
    if (this.timer && this.timerAt <= at) return;
    clearTimeout(this.timer);
    this.timerAt = at;
    this.timer = setTimeout(() => {
      this.timer = undefined;
      this.flush();
    }, at - Date.now());
  }

  /** Sends what waits, one request after another. Resolves when nothing waits or a request failed. */
  async flush(): Promise<void> {
    while (this.allowed() && navigator.onLine !== false && Date.now() >= this.notBefore) {
      const chunk = this.cut(this.pending());
      if (!chunk.length) return;
      // Wait for the request in flight; its end calls again.
      if (this.quota || !(await this.send(chunk))) return;
    }
    if (this.store.memory.size && this.allowed() && navigator.onLine !== false) this.schedule(0);
  }

  /** The page is going: sends all that fits into the quota, without waiting. */
  leave(): void {
    if (!this.allowed()) return;
    for (let rest = this.pending(); rest.length; ) {
      const chunk = this.cut(rest, Math.min(MAX_BODY, QUOTA - this.quota));
      if (this.quota + byteLength(this.body(chunk)) > QUOTA) break;
      this.send(chunk);
      rest = rest.slice(chunk.length);
    }
  }

  /** One request. True: acknowledged. It never rejects. */
  private async send(chunk: Entry[]): Promise<boolean> {
    const counts = { ...this.store.dropped };
    const text = this.body(chunk);
    const bytes = byteLength(text);
    chunk.forEach(([name]) => this.flying.add(name));
    this.quota += bytes;
    let status = 0;
    let wait = 0;
    let done = false;
    try {
      // Scripts of the page replace fetch, and their replacements may throw.
      const answer = await fetch(this.url, { method: "POST", body: text, keepalive: true, credentials: this.credentials, headers: { "Content-Type": "text/plain;charset=UTF-8" } });
      status = answer.status;
      wait = parseInt(answer.headers.get("Retry-After") || "") * 1000 || 0;
      // The body is read always: it holds the quota until then, and a portal's page answers 200 as well.
      const said = await answer.text();
      const told = JSON.parse(said);
      done = answer.ok && told.accepted >= 0;
      if (done && told.rejected?.length) console.warn("Tracker: the collector refused", told.rejected);
      if (done) this.store.part?.answer(told);
    } catch {
      // A beacon is a last try, not a proof: the events stay stored, and the next page asks again.
      if (!status && document.visibilityState === "hidden")
        try {
          navigator.sendBeacon(this.url, text);
        } catch {}
    }
    this.quota -= bytes;
    chunk.forEach(([name]) => this.flying.delete(name));
    if (done) {
      this.failures = this.notBefore = 0;
      chunk.forEach(([name]) => this.store.remove(name));
      this.store.reported(counts);
      this.arm();
      if (this.pending().length) this.schedule(0);
      return true;
    }
    if (status === 400 || status === 413) {
      if (chunk.length < 2) {
        this.store.remove(chunk[0][0]);
        this.store.drop("refused");
        return true;
      }
      // One of them is refused: halves find which.
      const half = chunk.length >> 1;
      return (await this.send(chunk.slice(0, half))) && this.send(chunk.slice(half));
    }
    const most = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** this.failures++);
    this.notBefore = Date.now() + Math.max(wait, 100 + Math.random() * most);
    this.schedule(0);
    return false;
  }

  /** Gives the browser a last copy to send when the page ends, however it ends: a crash as well. Chromium only. */
  private arm(): void {
    if (typeof fetchLater !== "function") return;
    this.abortLater?.abort();
    this.abortLater = undefined;
    const chunk = this.cut([...this.store.memory]);
    if (!chunk.length || !this.allowed()) return;
    this.abortLater = new AbortController();
    try {
      fetchLater(this.url, { method: "POST", body: this.body(chunk), credentials: this.credentials, signal: this.abortLater.signal, headers: { "Content-Type": "text/plain;charset=UTF-8" } });
    } catch {}
  }

  /** Sends what earlier pages left, one tab at a time. A copy too many is harmless: the ids are the same. */
  async replay(age: number): Promise<void> {
    if (!this.allowed() || navigator.onLine === false || Date.now() < this.notBefore) return;
    const work = async () => {
      for (let rest = this.store.leftovers(age); rest.length; ) {
        const chunk = this.cut(rest, MAX_BODY - this.quota);
        if (!this.allowed() || !(await this.send(chunk))) return;
        rest = rest.slice(chunk.length);
      }
    };
    if (navigator.locks) return navigator.locks.request(`dsp:${this.key}`, { ifAvailable: true }, (lock) => (lock ? work() : undefined));
    const [owner, until] = (this.store.read("!lease") || "").split(" ");
    if (owner && owner !== this.tab && +until > Date.now()) return;
    this.store.write("!lease", `${this.tab} ${Date.now() + LEASE}`);
    await work();
    this.store.forget("!lease");
  }

  /** Online again, or back from the back/forward cache: no reason to wait. */
  resume(): void {
    this.failures = this.notBefore = 0;
    this.arm();
    this.flush();
    this.replay(0);
  }

  cancel(): void {
    this.abortLater?.abort();
  }
}
