/** What became of the events that this browser was given to hand over, for all of its pages.
 *
 * It is in IndexedDB, whose transactions are one after another whatever process a page is in. localStorage is not enough:
 * a page of another process may read what was there some milliseconds ago, under a Web Lock too.
 */

import { toJson } from "./event.js";
import type { Store } from "./store.js";

export type Status = "handed" | "no_consent" | "not_present" | "error";
export type Ack = { id: string; destination: string; status: Status };

export interface State {
  /** The references that this browser has made for itself: two first pages at one moment make one each. */
  visitors: string[];
  /** `ID DESTINATION` of what was handed over, so that no reload and no other tab does it again. */
  handed: string[];
  /** What the collector was not told yet. */
  acks: Ack[];
}

const MOST_VISITORS = 3;
const MOST_HANDED = 1000;
const MOST_ACKS = 200;
const MOST_MARKED = 100;
// Milliseconds for IndexedDB to answer, after which a page goes on without it.
const PATIENCE = 5000;

export class Outcomes {
  /** As it was last seen; all there is where IndexedDB is forbidden. */
  state: State = { visitors: [], handed: [], acks: [] };
  private name: string;
  /** Storage is forbidden or full: this page goes on with what it knows. */
  private isOff = false;

  constructor(private store: Store) {
    this.name = store.prefix + "handover";
  }

  /** Calls `work` while no other page can, and keeps what it makes of the state unless it returns false. Never rejects. */
  async change(work: (state: State) => unknown): Promise<void> {
    let done = false;
    // Opened each time: a page keeps no connection, which could hold up another page or the back/forward cache.
    let database: IDBDatabase | undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;
    await new Promise<void>((resolve) => {
      const giveUp = () => ((this.isOff = true), resolve());
      // A browser whose storage is locked or broken may never answer.
      timer = setTimeout(giveUp, PATIENCE);
      this.open().then((opened) => {
        if (!opened || done) {
          opened?.close();
          return resolve();
        }
        database = opened;
        const transaction = opened.transaction("state", "readwrite");
        transaction.oncomplete = () => resolve();
        transaction.onabort = giveUp;
        const states = transaction.objectStore("state");
        states.get(0).onsuccess = (event) => {
          clearTimeout(timer);
          if (done) return;
          done = true;
          this.state = (event.target as IDBRequest<State>).result || { visitors: [], handed: [], acks: [] };
          if (this.run(work)) states.put(this.state, 0);
          // At once: the page may be about to end.
          transaction.commit?.();
        };
      }).catch(giveUp);
    });
    clearTimeout(timer);
    database?.close();
    if (!done) {
      done = true;
      this.run(work);
    }
  }

  /** Notes at once, for pages that come if this one ends before its transaction, that an event is handed over, or not. */
  mark(name: string, isHanded: boolean): void {
    const marked = this.marked().filter((other) => other !== name);
    if (isHanded) marked.push(name);
    this.store.write("!handed", toJson(marked.slice(-MOST_MARKED)));
  }

  /** Forgets everything, as where consent is taken back. */
  forget(): void {
    this.state = { visitors: [], handed: [], acks: [] };
    ["!visitor", "!handed"].forEach((name) => this.store.forget(name));
    try {
      indexedDB.deleteDatabase(this.name);
    } catch {}
  }

  private run(work: (state: State) => unknown): boolean {
    const state = this.state;
    for (const name of this.marked()) if (!state.handed.includes(name)) state.handed.push(name);
    if (work(state) === false) return false;
    state.visitors = state.visitors.slice(0, MOST_VISITORS);
    state.handed = state.handed.slice(-MOST_HANDED);
    state.acks = state.acks.slice(-MOST_ACKS);
    return true;
  }

  private marked(): string[] {
    try {
      return JSON.parse(this.store.read("!handed")!) || [];
    } catch {
      return [];
    }
  }

  private open(): Promise<IDBDatabase | undefined> {
    return new Promise((resolve) => {
      if (this.isOff) return resolve(undefined);
      try {
        const request = indexedDB.open(this.name);
        request.onupgradeneeded = () => request.result.createObjectStore("state");
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => resolve(undefined);
      } catch {
        resolve(undefined);
      }
    });
  }
}
