// @ts-check
// One event of the live page: its row, what became of it at each destination, and the requests.
import { make, put } from "./dom.js";
import { ask } from "./server.js";
import { number } from "./words.js";

/** @type {any} */ let session = { destinations: {}, reasons: {} };
export const know = (/** @type {any} */ given) => { session = given; };

/** What an outcome is called, and its level: the mark differs with the level, not only the colour. */
const OUTCOMES = /** @type {Record<string, [string, string]>} */ ({
  delivered: ["delivered", "good"], filtered: ["filtered", "quiet"], posted: ["waits for the visitor's page", "quiet"],
  retry: ["will be tried again", "warn"], dead: ["dead", "bad"], waiting: ["waiting", "quiet"], logged: ["in the log", "good"],
  outbox: ["not put into the store yet", "quiet"],
});
const reasonOf = (/** @type {string} */ reason) => session.reasons[reason] || reason;
const pretty = (/** @type {any} */ value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));

export function time(/** @type {number} */ ms) {
  const at = new Date(ms), pad = (/** @type {number} */ n, length = 2) => String(n).padStart(length, "0");
  return `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}.${pad(at.getMilliseconds(), 3)}`;
}

/** The row of an event. `event` is null for one of which a delivery is known alone. */
export class EventRow {
  constructor(/** @type {string} */ id, /** @type {string} */ name, /** @type {number} */ atMs, /** @type {() => void} */ onOpen = () => {}) {
    this.id = id;
    this.name = name;
    /** @type {any} */ this.event = null;
    /** @type {Map<string, any>} */ this.deliveries = new Map();
    /** Whether it was looked for, so that nothing more is known than what is left of it. */
    this.isPast = false;
    this.isOpen = false;
    this.toggle = make("button", { class: "toggle", type: "button", "aria-expanded": "false", onclick: () => { this.turn(!this.isOpen); onOpen(); } }, name);
    this.who = make("span", { class: "who" });
    this.ways = make("span", { class: "ways" });
    /** @type {any} */ this.details = null;
    /** @type {any} */ this.why = null;
    const line = make("div", { class: "event-line" }, make("time", { datetime: new Date(atMs).toISOString() }, time(atMs)), this.toggle, this.who, this.ways);
    this.element = make("li", { class: "event" }, line);
  }

  /** Take what a relay or a worker has shown of it. */
  take(/** @type {any} */ item) {
    if (item.kind === "event") {
      this.event = item;
      put(this.who, item.users.length ? `user ${item.users.join(", ")}` : "");
    } else this.deliveries.set(item.destination, item);
    this.draw();
  }

  draw() {
    this.ways.replaceChildren(...this.places().map(([name, place]) => way(name, place)));
    if (this.isOpen) this.drawDetails();
  }

  /** What is known of each destination: [name, {word, level, …}]. @returns {[string, any][]} */
  places() {
    const { event } = this;
    if (event?.not_taken) return [["emit", { word: `did not take it: ${event.not_taken.reason}`, level: "bad", error: event.not_taken.error, sentence: reasonOf(event.not_taken.reason) }]];
    /** @type {Map<string, any>} */ const found = new Map();
    for (const name of event?.goes ?? []) found.set(name, { word: this.isPast ? "neither waiting nor dead" : "on its way", level: "quiet" });
    for (const [name, item] of this.deliveries) {
      const [word, level] = OUTCOMES[item.outcome] ?? [item.outcome, "quiet"];
      const reason = item.outcome === "retry" ? "" : item.reason ?? "";
      found.set(name, { ...item, word: reason ? `${word}: ${reason}` : word, level, sentence: reason ? reasonOf(reason) : "" });
    }
    for (const [name, reason] of Object.entries(event?.skipped ?? {})) found.set(name, { word: `not sent: ${reason}`, level: "quiet", sentence: reasonOf(reason) });
    return [...found];
  }

  turn(/** @type {boolean} */ open) {
    this.isOpen = open;
    this.toggle.setAttribute("aria-expanded", String(open));
    if (!open) { this.details?.remove(); this.details = null; return; }
    this.details = make("div", { class: "details" });
    this.element.append(this.details);
    this.drawDetails();
    if (this.why === null) this.askWhy();
  }

  async askWhy() {
    const query = new URLSearchParams({ name: this.name, type: this.event?.type ?? "event" });
    try {
      this.why = new Map((await ask(`api/why?${query}`)).map((/** @type {any} */ one) => [one.destination, one]));
    } catch (error) {
      this.why = new Map();
    }
    if (this.isOpen) this.drawDetails();
  }

  drawDetails() {
    const open = new Set([...this.details.querySelectorAll("details[open]")].map((one) => one.dataset.of));
    const more = (/** @type {string} */ of, /** @type {string} */ title, /** @type {any} */ value) =>
      make("details", { "data-of": of, open: open.has(of) }, make("summary", {}, title), make("pre", { tabindex: "0" }, pretty(value)));
    const link = make("a", { href: `live?id=${encodeURIComponent(this.id)}` }, "link to this event");
    const parts = [make("p", { class: "identity" }, make("code", {}, this.id), link)];
    if (this.event?.repeat) parts.push(make("p", {}, "An event with this id came before: it goes on once."));
    if (this.event) parts.push(this.event.event ? more("event", "The event", this.event.event) : make("p", {}, `The event has ${number.format(this.event.bytes)} bytes, too many to be shown here.`));
    for (const [name, place] of this.places()) {
      const why = this.why?.get(name), type = session.destinations[name];
      parts.push(make("section", { class: "place", "data-level": place.level, "aria-label": `${this.name} at ${name}` },
        make("h3", {}, name, type && type !== name ? make("span", { class: "quiet" }, ` ${type}`) : null),
        make("p", { "data-level": place.level }, make("span", { class: "mark", "aria-hidden": "true" }), " ", make("span", { class: "word" }, place.word), place.sentence ? `. ${place.sentence}` : ""),
        why ? make("p", { class: "quiet" }, reason(why)) : null,
        place.took_ms != null ? make("p", { class: "quiet" }, facts(place)) : null,
        ...(place.receipts ?? []).map((/** @type {any} */ one) => make("p", { class: "quiet" }, receipt(one))),
        place.error ? make("p", { class: "error" }, place.error) : null,
        place.answer ? make("p", { class: "error" }, `It answered: ${place.answer}`) : null,
        place.line != null ? more(`line-${name}`, `The line, in ${place.file}${place.number ? `: line ${number.format(place.number)}, at byte ${number.format(place.offset)}` : ""}`, place.line) : null,
        place.sent_too_large ? make("p", { class: "quiet" }, "What was sent is too large to be shown here.") : null,
        ...sent(place, (title, value) => more(`sent-${name}`, title, value))));
    }
    const had = this.details.contains(document.activeElement);
    if (had && document.activeElement !== document.body) return; // somebody reads with the keyboard here
    this.details.replaceChildren(...parts);
  }
}

function way(/** @type {string} */ name, /** @type {any} */ place) {
  return make("span", { class: "way", "data-level": place.level }, make("span", { class: "mark", "aria-hidden": "true" }), make("span", { class: "word" }, `${name} ${place.word}`));
}

function reason(/** @type {any} */ why) {
  const near = why.nearest ? `; the nearest entry is ${why.nearest}` : "";
  return `Routing: ${why.sentence}${why.entry ? ` (${why.entry})` : ""}${near}.`;
}

function facts(/** @type {any} */ place) {
  const others = place.together - 1;
  const together = others > 0 ? `, with ${number.format(others)} other${others === 1 ? "" : "s"} in the same delivery` : "";
  return `Try ${place.attempt}, ${number.format(Math.round(place.took_ms))} ms${together}. Batch ${place.batch}.`;
}

/** One delivery that a worker was done with, as its receipt says it. */
function receipt(/** @type {any} */ one) {
  const others = one.together - 1, reason = one.reason ? `: ${one.reason}` : "";
  const together = others > 0 ? `, with ${number.format(others)} other${others === 1 ? "" : "s"}` : "";
  return `Receipt: ${(OUTCOMES[one.state] ?? [one.state])[0]}${reason} at ${one.at.replace("T", " ")}, try ${one.attempt}, batch ${one.batch}${together}, by a worker on ${one.host}.`;
}

/** What the destination was sent: a request, a line of a log, calls of a page; or why nothing. @returns {any[]} */
function sent(/** @type {any} */ place, /** @type {(title: string, value: any) => any} */ more) {
  const shown = place.sent;
  if (!shown) return [];
  if (shown.request) return [more(`The request: ${shown.request.method} ${shown.request.url}`, shown.request)];
  if (shown.line != null) return [more("The line", shown.line)];
  if (shown.calls) return [more("What the page calls", shown.calls)];
  return Object.keys(shown).length ? [more("What it says", shown)] : [];
}

/** The row of an event that has passed already, from /api/find. @returns {EventRow | null} */
export function foundRow(/** @type {any} */ found) {
  const item = found.event;
  const logged = found.places.find((/** @type {any} */ one) => one.state === "logged");
  if (!item && !found.places.length) return null;
  const name = item?.name ?? found.name ?? logged?.line?.name ?? logged?.line?.event_type ?? found.id;
  const at = item?.at_ms ?? (Date.parse(logged?.line?.time ?? logged?.line?.timestamp ?? "") || 0);
  const row = new EventRow(found.id, String(name), at);
  row.isPast = true;
  // A destination may have several places: its receipts, its line in a log, and last where the event is now.
  for (const place of found.places) {
    const before = row.deliveries.get(place.destination), receipts = [...(before?.receipts ?? []), ...(place.receipt ? [place] : [])];
    row.deliveries.set(place.destination || "outbox", { ...before, reason: "", error: "", ...place, outcome: place.state, receipts });
  }
  if (item) row.take(item);
  else row.draw();
  return row;
}
