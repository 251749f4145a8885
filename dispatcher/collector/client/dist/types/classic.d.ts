/** The classic script: window.Tracker, started by the attributes of its own script element. */
import { Tracker } from "./tracker.js";
declare global {
    interface Window {
        Tracker: Tracker & {
            q?: Parameters<Tracker["drain"]>[0];
        };
    }
}
