// @ts-check
// A destination: its row, what there is to see, and more of it on a click.
import { inFlower, listBatches } from "./batches.js";
import { drawCharts } from "./charts.js";
import { $, level, make, put, redraw } from "./dom.js";
import { listLetters } from "./letters.js";
import { openOrder } from "./orders.js";
import { now, state } from "./state.js";
import { ago, clock, count, number, rate, until } from "./words.js";

/** @type {Map<string, any>} */ export const rows = new Map();

const NUMBERS = ["accepted", "delivered", "waiting", "dead", "filtered", "retried"];

function newRow(/** @type {string} */ name) {
  const id = `destination-${name.replace(/[^a-z0-9_-]/gi, "-")}`;
  const row = /** @type {any} */ ({ cells: {}, open: false });
  row.type = make("span", { class: "type" });
  row.toggle = make("button", { class: "toggle", type: "button", "aria-expanded": "false", "aria-controls": `${id}-more`, onclick: () => toggle(row) }, name);
  row.state = make("p", { class: "state" }, make("span", { class: "mark", "aria-hidden": "true" }), make("span", { class: "word" }));
  row.numbers = make("dl", { class: "numbers" });
  for (const field of [...NUMBERS, "per s"]) {
    row.cells[field] = make("dd");
    row.numbers.append(make("div", {}, make("dt", {}, field), row.cells[field]));
  }
  row.chart = make("div", { class: "chart" });
  row.notes = make("ul", { class: "notes" });
  row.parts = { waits: make("dl", { class: "pairs" }), dead: make("ul", { class: "reasons" }), filtered: make("ul", { class: "reasons" }), workers: make("ul"), commands: make("ul"), charts: make("div", { class: "bigger" }), controls: make("div", { class: "controls" }) };
  const part = (/** @type {string} */ title, /** @type {any} */ body) => make("section", { "aria-label": `${name}: ${title}` }, make("h4", { "aria-hidden": "true" }, title), body);
  row.sections = { waits: part("What waits", row.parts.waits), charts: part("Last hour", row.parts.charts), dead: part("Dead letters by reason", row.parts.dead), filtered: part("Filtered by reason", row.parts.filtered), workers: part("Served by", row.parts.workers), commands: part("What people did", row.parts.commands) };
  row.more = make("div", { class: "more", id: `${id}-more`, hidden: true }, ...Object.values(row.sections), row.parts.controls);
  row.line = make("div", { class: "row" }, make("div", { class: "title" }, make("span", { class: "chevron", "aria-hidden": "true" }), make("h3", {}, row.toggle, row.type), row.state), row.numbers, row.chart);
  row.element = make("article", { class: "destination", "aria-label": name }, row.line, row.notes, row.more);
  return row;
}

function toggle(/** @type {any} */ row) {
  row.open = !row.open;
  row.more.hidden = !row.open;
  row.toggle.setAttribute("aria-expanded", String(row.open));
  row.element.classList.toggle("is-open", row.open);
  if (row.open) { drawCharts(row.shown.name, row); drawMore(row.shown, row); }
}

/** Open the destination that the page's address names, as Flower's links do; once for each address. */
let namedBefore = "";
export function openNamed() {
  const named = new URLSearchParams(location.hash.slice(1)).get("destination") || "";
  if (named === namedBefore) return;
  const row = rows.get(named);
  if (!row && named) return;
  namedBefore = named;
  if (!row) return;
  if (!row.open) toggle(row);
  row.element.scrollIntoView();
  row.toggle.focus();
}
addEventListener("hashchange", openNamed);

export function drawDestination(/** @type {any} */ one) {
  let row = rows.get(one.name);
  if (!row) {
    row = newRow(one.name);
    row.shown = one;
    rows.set(one.name, row);
    $("ledger").append(row.element);
    drawCharts(one.name, row);
  }
  row.shown = one;
  put(row.type, one.type && one.type !== one.name ? one.type : "");
  level(row.state, one.level);
  put(row.state.lastChild, one.state);
  for (const field of NUMBERS) {
    const cell = row.cells[field];
    put(cell, number.format(one[field]));
    cell.className = field === "dead" && one.dead ? "is-bad" : one[field] ? "" : "is-zero";
  }
  put(row.cells["per s"], rate(one.per_second));
  row.cells["per s"].className = one.per_second ? "" : "is-zero";
  const notes = notesOf(one);
  redraw(row.notes, notes, () => notes.map(([mark, text, error]) => make("li", { "data-level": mark }, text, error ? make("span", { class: "error" }, error) : null)));
  if (row.open) drawMore(one, row);
}

/** What a cause of the breaker asks of who looks. */
const CAUSES = /** @type {Record<string, string>} */ ({
  transient: "Nothing is lost, and it goes on by itself once the destination answers.",
  throttled: "The destination asks for time, and gets it.",
  setup: "It goes on once its settings are mended: set them for the workers, restart these, then retry.",
});

const hasRecovered = (/** @type {any} */ one) => (one.last_delivered_ms || 0) > (one.last_error_ms || 0);
/** Whether the last error is news: of the last hour, or of the last minute where all went well since. */
function isShown(/** @type {any} */ one) {
  if (!one.last_error) return false;
  const isWell = hasRecovered(one) && !one.dead;
  return now() - one.last_error_ms < (isWell ? 60000 : 3600000) || (one.parked > 0 && !hasRecovered(one));
}

/** What there is to see of a destination: a level, a text and an error in full. @returns {string[][]} */
function notesOf(/** @type {any} */ one) {
  const notes = [];
  const { breaker, pause } = one;
  if (!one.is_served) notes.push([one.waiting ? "bad" : "quiet", "Nobody delivers it: it is disabled, or not in the settings."]);
  if (pause) {
    const why = pause.reason ? ` (${pause.reason})` : "";
    notes.push(["warn", `Paused for ${ago(pause.since_ms)}${why}, until ${pause.until_ms ? clock(pause.until_ms) : "somebody resumes it"}.`]);
  }
  if (breaker.state !== "closed") {
    const why = CAUSES[breaker.cause] ? ` ${CAUSES[breaker.cause]}` : "";
    notes.push([breaker.state === "open" ? "bad" : "warn", `Breaker open for ${ago(breaker.opened_ms)}${breaker.cause ? ` (${breaker.cause})` : ""}; next try ${until(breaker.until_ms)}.${why}`]);
  }
  if (one.workers && !one.workers.length && one.is_served && one.name !== "emit") notes.push([one.waiting ? "bad" : "warn", "No worker serves it."]);
  if (one.rate && one.rate.is_slowed) {
    notes.push(["warn", `Slowed to ${one.rate.current_per_second.toPrecision(3)} of ${one.rate.per_second} requests a second: `, one.rate.error]);
  }
  if (isShown(one)) {
    notes.push([hasRecovered(one) ? "quiet" : "bad", `Last error, ${ago(one.last_error_ms)} ago: `, one.last_error]);
  }
  return notes;
}

function drawMore(/** @type {any} */ one, /** @type {any} */ row) {
  const { parts, sections } = row;
  const isEmit = one.name === "emit";
  sections.waits.hidden = sections.charts.hidden = isEmit;
  const pairs = [
    ["queued", number.format(one.queued)], ["under way", number.format(one.claimed)], ["parked", number.format(one.parked)],
    ...(one.posted ? [["for pages", number.format(one.posted)]] : []),
    ["oldest", one.oldest_ms ? `${ago(one.oldest_ms)} (since ${clock(one.oldest_ms, true)})` : "–"],
    ["next try", one.next_try_ms ? until(one.next_try_ms) : "–"],
    ["last delivered", one.last_delivered_ms ? `${ago(one.last_delivered_ms)} ago` : "never"],
    // A late one stands above.
    ...(one.last_error && !isShown(one) ? [["last error", `${ago(one.last_error_ms)} ago: ${one.last_error}`]] : []),
    ["breaker", `${one.breaker.state}${one.breaker.opened ? `, opened ${count(one.breaker.opened, "time")}` : ""}`],
    ["rate limit", one.rate ? `${one.rate.current_per_second.toPrecision(3)} of ${one.rate.per_second} requests a second` : "none"],
  ];
  redraw(parts.waits, pairs, () => pairs.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
  sections.dead.hidden = !one.dead;
  redraw(parts.dead, [one.dead_by_reason, state.session.allow_control], () => one.dead_by_reason.map(([reason, n]) => {
    const gone = (reason === "filed" || reason === "unkept");
    const button = (/** @type {string} */ word, /** @type {() => void} */ act) => make("button", { type: "button", class: "small", "aria-label": `${word} dead letters of ${one.name}: ${reason}`, onclick: act }, word);
    return make("li", {}, make("span", { class: "figure" }, number.format(n)), make("span", { class: "what" }, reason),
      gone ? null : button("List", () => listLetters(one.name, reason)),
      gone || isEmit || !state.session.allow_control ? null : button("Replay …", () => openOrder("replay", one.name, reason)),
      gone || !state.session.allow_control ? null : button("Drop …", () => openOrder("drop", one.name, reason)));
  }));
  sections.filtered.hidden = !one.filtered;
  redraw(parts.filtered, one.filtered_by_reason, () => one.filtered_by_reason.map(([reason, n]) => make("li", {}, make("span", { class: "figure" }, number.format(n)), make("span", { class: "what" }, reason))));
  sections.workers.hidden = isEmit;
  const workers = (one.workers || []).map((/** @type {any} */ w) => `${w.name}, process ${w.pid}, ${w.version}; settings read ${ago(w.settings_ms)} ago${w.is_old ? ", before they changed here: restart it" : ""}`);
  if (one.more_workers) workers.push(`and ${count(one.more_workers, "more worker")}`);
  if (!workers.length) workers.push(one.workers ? "no worker" : "not known");
  redraw(parts.workers, workers, () => workers.map((text) => make("li", {}, text)));
  sections.commands.hidden = !one.commands.length;
  const commands = one.commands.map((/** @type {any} */ c) => `${ago(c.at_ms)} ago: ${c.command}, by ${c.who}`);
  redraw(parts.commands, commands, () => commands.map((/** @type {string} */ text) => make("li", {}, text)));
  const paused = Boolean(one.pause);
  parts.controls.hidden = isEmit;
  const flower = inFlower(`tasks?name=${encodeURIComponent(`tasks.${one.name}.deliver`)}`);
  redraw(parts.controls, [state.session, paused, one.waiting > one.posted], () => [
    ...(state.session.allow_control
      ? [["retry", "Retry now …"], paused ? ["resume", "Resume …"] : ["pause", "Pause …"]].map(([action, word]) =>
          make("button", { type: "button", "aria-label": `${word} ${one.name}`, onclick: () => openOrder(action, one.name, "") }, word))
      : [make("span", { class: "quiet" }, "This board only shows. With --allow-control it retries, pauses, resumes, replays and drops.")]),
    one.waiting > one.posted ? make("button", { type: "button", "aria-label": `Batches … ${one.name}`, onclick: () => listBatches(one.name) }, "Batches …") : null,
    flower ? make("a", { href: flower, rel: "noreferrer", "aria-label": `Tasks in Flower: ${one.name}` }, "Tasks in Flower") : null,
  ].filter(Boolean));
}
