/** The ES module: a Tracker that the page starts by `Tracker.init({key: "…"})`, and its class. */

import { Tracker as TrackerClass } from "./tracker.js";

export * from "./tracker.js";
export { TrackerClass };

/** The page's one tracker: that of the classic script or of another bundle, if it is there too. */
const existing = (globalThis as { Tracker?: TrackerClass }).Tracker;
// Not by its class: that of the classic script is another one. A stub has no init.
const tracker: TrackerClass = typeof existing?.init === "function" ? existing : new TrackerClass();
// For handover.js, and for the page's other bundles. A stub stays for its script, and Node.js has no window.
if (!existing && typeof window === "object") (window as { Tracker?: TrackerClass }).Tracker = tracker;
export default tracker;
