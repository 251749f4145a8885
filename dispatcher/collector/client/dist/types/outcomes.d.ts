/** What became of the events that this browser was given to hand over, for all of its pages.
 *
 * It is in IndexedDB, whose transactions are one after another whatever process a page is in. localStorage is not enough:
 * a page of another process may read what was there some milliseconds ago, under a Web Lock too.
 */
import type { Store } from "./store.js";
export type Status = "handed" | "no_consent" | "not_present" | "error";
export type Ack = {
    id: string;
    destination: string;
    status: Status;
};
export interface State {
    /** The references that this browser has made for itself: two first pages at one moment make one each. */
    visitors: string[];
    /** `ID DESTINATION` of what was handed over, so that no reload and no other tab does it again. */
    handed: string[];
    /** What the collector was not told yet. */
    acks: Ack[];
}
export declare class Outcomes {
    private store;
    /** As it was last seen; all there is where IndexedDB is forbidden. */
    state: State;
    private name;
    /** Storage is forbidden or full: this page goes on with what it knows. */
    private isOff;
    constructor(store: Store);
    /** Calls `work` while no other page can, and keeps what it makes of the state unless it returns false. Never rejects. */
    change(work: (state: State) => unknown): Promise<void>;
    /** Notes at once, for pages that come if this one ends before its transaction, that an event is handed over, or not. */
    mark(name: string, isHanded: boolean): void;
    /** Forgets everything, as where consent is taken back. */
    forget(): void;
    private run;
    private marked;
    private open;
}
