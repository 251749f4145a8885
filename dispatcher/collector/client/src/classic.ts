/** The classic script: window.Tracker, started by the attributes of its own script element. */

import { Tracker } from "./tracker.js";

declare global {
  interface Window {
    Tracker: Tracker & { q?: Parameters<Tracker["drain"]>[0] };
  }
}

const before = window.Tracker;
// Loaded twice, or behind a module: the first tracker goes on, and is started if it was not.
const isFirst = !before || !!before.q;
const tracker = isFirst ? (window.Tracker = new Tracker()) : before;
const set = (document.currentScript as HTMLScriptElement | null)?.dataset;
if (set?.key)
  tracker.init({
    key: set.key,
    url: set.url || "/v1/events",
    delay: +(set.delay || 2000),
    consent: set.consent === "unknown" ? null : set.consent !== "denied",
    gpc: set.gpc || "Advertising",
    credentials: (set.credentials || "same-origin") as RequestCredentials,
    history: set.history !== undefined,
    handover: set.handover as "poll" | undefined,
    visitor: set.visitor,
  });
if (before && isFirst) tracker.drain(before.q!);
