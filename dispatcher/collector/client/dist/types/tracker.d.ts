/** Tracker: what a page calls. Nothing here throws into the page. */
import { type Data } from "./event.js";
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
/** What the stub queued: a call's first three arguments. */
type Call = {
    id: string;
    timestamp: Date;
    type: string;
    name: unknown;
    data: unknown;
    o: unknown;
};
/** Whom this browser is known as. */
export interface User {
    anonymousId: string;
    userId?: string | null;
    traits?: object;
}
export declare class Tracker {
    private store;
    private sender;
    private options;
    /** What was called before init: it is not known then whom the browser remembers, and where events go. */
    private early;
    private listeners;
    private known;
    private wasAllowed;
    private part;
    /** Starts sending. What was emitted before goes too. A second call is ignored. */
    init(options: Options): this;
    /** Adds a part, which is started with the tracker. */
    use(part: Part): void;
    /** Emits an event of the tracking log. Returns its id, which it keeps on its whole way. */
    emit(name: string, data?: Data, options?: EmitOptions): string;
    /** Calls back at each event of this name: with an element, only at those emitted for it; with null, for none. */
    on(name: string, element: unknown, listener?: Listener): () => void;
    /** To Segment only, as analytics.track. */
    track(name: string, properties?: object, options?: CallOptions, callback?: () => void): string;
    /** As analytics.page: (category, name, properties, options), each optional. */
    page(...args: unknown[]): string;
    /** As analytics.identify: (userId, traits, options), the id optional. */
    identify(...args: unknown[]): string;
    /** Whom this browser is known as. Before init nothing is known. */
    user(): User;
    /** Forgets the user, at log-out. */
    reset(): void;
    /** Tells what the user decided. false clears what is stored. */
    consent(value: Consent): void;
    /** Whether this browser never sends; kept between pages. */
    optOut(out?: boolean): void;
    /** Sends now. Resolves when nothing waits any more or the collector cannot be reached. */
    flush(): Promise<void>;
    /** Issues the calls that a stub queued before the script was there, under the ids that it gave. */
    drain(calls: Call[]): void;
    private preset;
    private named;
    private ready;
    /** `change` comes before the event, when it is known whom the browser remembers. */
    private call;
    private keepUser;
    /** What the user decided, as far as it is known. */
    decision(): Consent;
    private allowed;
    private check;
    private queue;
    private watch;
}
export {};
