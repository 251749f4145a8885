/** Sends events in requests that need no preflight and outlive the page, until the collector's answer was read. */
import type { Store } from "./store.js";
export declare class Sender {
    private store;
    private key;
    private url;
    private delay;
    private credentials;
    /** Whether events may be sent now: consent, opt-out. */
    private allowed;
    private flying;
    private quota;
    private failures;
    private notBefore;
    private timer;
    private timerAt;
    private abortLater;
    private tab;
    constructor(store: Store, key: string, url: string, delay: number, credentials: RequestCredentials, 
    /** Whether events may be sent now: consent, opt-out. */
    allowed: () => boolean);
    private pending;
    private body;
    /** As many events from the front as fit into one request. At least one. */
    private cut;
    /** Something was queued: send soon, or at once while the page is going. */
    wake(): void;
    private schedule;
    /** Sends what waits, one request after another. Resolves when nothing waits or a request failed. */
    flush(): Promise<void>;
    /** The page is going: sends all that fits into the quota, without waiting. */
    leave(): void;
    /** One request. True: acknowledged. It never rejects. */
    private send;
    /** Gives the browser a last copy to send when the page ends, however it ends: a crash as well. Chromium only. */
    private arm;
    /** Sends what earlier pages left, one tab at a time. A copy too many is harmless: the ids are the same. */
    replay(age: number): Promise<void>;
    /** Online again, or back from the back/forward cache: no reason to wait. */
    resume(): void;
    cancel(): void;
}
