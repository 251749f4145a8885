/** The events of a page in localStorage, one key an event: two tabs that rewrite one list lose each other's events. */
export declare const MAX_EVENT_BYTES: number;
/** Why events were dropped, and how many. Goes with the next request. */
export type Dropped = Record<string, number>;
export declare class Store {
    private area;
    /** What all its keys in localStorage begin with. */
    readonly prefix: string;
    /** The events of this page that are not acknowledged, by key: all there is where storage is forbidden or full. */
    memory: Map<string, string>;
    dropped: Dropped;
    /** Of handover.js: whose page this is, and what hears the collector's answers. */
    visitors: string[] | undefined;
    part: {
        answer(said: object): void;
    } | undefined;
    constructor(key: string);
    read(name: string): string | null | undefined;
    write(name: string, text: string): boolean;
    forget(name: string): void;
    drop(reason: string, count?: number): void;
    /** Takes what a request reported off the counts. */
    reported(counts: Dropped): void;
    /** Keeps an event until it is acknowledged. `keep` false: in memory only. */
    add(id: string, text: string, keep: boolean): void;
    remove(name: string): void;
    /** The stored events of pages that are gone, or of other tabs: at least `age` ms old, oldest first. */
    leftovers(age: number): [string, string][];
    clear(): void;
    /** Writes what was held in memory while consent was unknown, with the preferences that were given since. */
    persist(categoryPreferences?: object): void;
}
