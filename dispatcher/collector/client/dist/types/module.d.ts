/** The ES module: a Tracker that the page starts by `Tracker.init({key: "…"})`, and its class. */
import { Tracker as TrackerClass } from "./tracker.js";
export * from "./tracker.js";
export { TrackerClass };
declare const tracker: TrackerClass;
export default tracker;
