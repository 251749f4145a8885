/** The ES module: a Tracker that the page starts by `Tracker.init({key: "…"})`, and its class. */

import { Tracker as TrackerClass } from "./tracker.js";

export * from "./tracker.js";
export { TrackerClass };

/** The page's one tracker: the classic script's, if that is there too. */
const existing = (globalThis as { Tracker?: TrackerClass }).Tracker;
// Not by its class: that of the classic script is another one. A stub has no init.
const tracker: TrackerClass = typeof existing?.init === "function" ? existing : new TrackerClass();
export default tracker;
