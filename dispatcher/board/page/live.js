// @ts-check
// The live page: it draws what /api/live sends, at most twelve times a second, and keeps the last rows.
import { $, level, make, put } from "./dom.js";
import { EventRow, foundRow, know } from "./live_event.js";
import { ask, url, words } from "./server.js";
import { number } from "./words.js";

/** Rows that are kept: more than anybody reads, and few enough for the browser. */
const MOST_ROWS = 150;
const FIELDS = ["name", "user", "id", "destination"];

/** @type {Map<string, EventRow>} */ const rows = new Map();
/** @type {EventSource | null} */ let stream = null;
/** @type {any[]} */ let arrived = [];
let isPaused = false, isDrawing = false, missed = 0;

function pause(/** @type {boolean} */ paused) {
  isPaused = paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  label();
  if (!paused) { missed = 0; soon(); }
}

function label() {
  const waiting = missed ? ` (${number.format(missed)} more have come)` : "";
  put($("pause"), isPaused ? `Go on${waiting}` : "Pause");
}

/** Draw with the next frame, all that has come by then at once. */
function soon() {
  if (isDrawing) return;
  isDrawing = true;
  // A page in a hidden tab gets no frames, and reads nothing either.
  requestAnimationFrame(() => { isDrawing = false; draw(); });
}

function draw() {
  const fresh = [];
  for (const item of arrived) {
    if (!item.kind) continue;
    let row = rows.get(item.id);
    if (!row) {
      if (isPaused) { if (item.kind === "event") missed += 1; continue; }
      row = new EventRow(item.id, item.name, item.at_ms, () => pause(true));
      rows.set(item.id, row);
      fresh.push(row);
    }
    row.take(item);
  }
  arrived = [];
  if (fresh.length) {
    $("events").prepend(...fresh.slice(-MOST_ROWS).reverse().map((row) => row.element));
    for (const id of [...rows.keys()].slice(0, Math.max(0, rows.size - MOST_ROWS))) {
      rows.get(id)?.element.remove();
      rows.delete(id);
    }
    $("nothing").hidden = true;
  }
  label();
}

function rates(/** @type {any} */ news) {
  const all = Math.round(news.per_second), shown = Math.round(news.shown);
  const per = `${number.format(all)} event${all === 1 ? "" : "s"} a second`;
  put($("rates"), shown < all ? `showing ${number.format(shown)} of ${per}: a part, each with all that becomes of it` : per);
}

function say(/** @type {string} */ mark, /** @type {string} */ text) {
  level($("live"), mark);
  put($("live-text"), text);
}

function refuse(/** @type {string} */ text) {
  $("banners").replaceChildren(make("p", { class: "banner", "data-level": "warn" }, text));
  say("warn", "not looking");
  $("nothing").hidden = true;
}

function connect() {
  stream?.close();
  const query = new URLSearchParams();
  for (const field of FIELDS) if ($(field).value.trim()) query.set(field, $(field).value.trim());
  say("quiet", "connecting …");
  stream = new EventSource(url(`api/live?${query}`));
  stream.onmessage = (message) => {
    const news = JSON.parse(message.data);
    if (news.away) { say("bad", "Redis does not answer"); return; }
    say("good", "looking");
    rates(news);
    arrived.push(...news.items);
    soon();
  };
  stream.onerror = () => {
    say("bad", "the board does not answer");
    // A refusal ends the stream for good, and says why only to a question.
    if (stream?.readyState === EventSource.CLOSED) refuse("The board does not show live events now: four look at them already, or it was stopped. Load the page again in a while.");
  };
}

async function find(/** @type {string} */ id) {
  $("found").hidden = !id;
  if (!id) return;
  $("found-event").replaceChildren(make("p", { class: "nothing" }, "looking …"));
  try {
    const found = await ask(`api/find?id=${encodeURIComponent(id)}`);
    const row = foundRow(found);
    const notes = found.partial.map((/** @type {string} */ text) => make("p", { class: "nothing" }, text));
    if (row) { $("found-event").replaceChildren(make("ol", { class: "events" }, row.element), ...notes); row.turn(true); }
    else $("found-event").replaceChildren(make("p", { class: "nothing" }, "Nothing of it is here: it is in no log of this machine, it does not wait, and it is no dead letter. It is shown below if it passes."), ...notes);
  } catch (error) {
    $("found-event").replaceChildren(make("p", { class: "nothing" }, words(error)));
  }
}

/** Show what the form asks for, under an address that can be shared. */
function choose(/** @type {boolean} */ push) {
  const query = new URLSearchParams();
  for (const field of FIELDS) if ($(field).value.trim()) query.set(field, $(field).value.trim());
  if (push) history.pushState(null, "", query.size ? `?${query}` : location.pathname);
  rows.clear();
  arrived = [];
  $("events").replaceChildren();
  $("nothing").hidden = false;
  pause(false);
  connect();
  find($("id").value.trim());
}

function read() {
  const query = new URLSearchParams(location.search);
  for (const field of FIELDS) $(field).value = query.get(field) ?? "";
}

async function start() {
  /** @type {any} */ let session;
  try {
    session = await ask("api/live/session");
  } catch (error) {
    refuse(words(error));
    return;
  }
  know(session);
  put($("environment"), session.environment);
  $("shop").hidden = !session.shop;
  $("destination").append(...Object.keys(session.destinations).map((name) => make("option", { value: name }, name)));
  read();
  if (session.refusal) {
    const [first, ...rest] = session.refusal;
    refuse(`${first.toUpperCase()}${rest.join("")}.`);
    return;
  }
  choose(false);
}

$("filter").onsubmit = (/** @type {Event} */ event) => { event.preventDefault(); choose(true); };
$("clear").onclick = () => { for (const field of FIELDS) $(field).value = ""; choose(true); };
$("pause").onclick = () => pause(!isPaused);
addEventListener("popstate", () => { read(); choose(false); });
// A page that nobody sees costs nothing, and comes back to what passes then.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) { stream?.close(); stream = null; }
  else if (!stream && $("banners").childElementCount === 0) connect();
});
start();
