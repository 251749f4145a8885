// @ts-check
// The rest of the page: workers, outboxes of this machine, and what is wrong with all of it.
import { $, make, put, redraw } from "./dom.js";
import { state } from "./state.js";
import { ago, clock, count, number, size } from "./words.js";

export function drawOthers() {
  /** @type {Map<string, any>} */ const workers = new Map();
  for (const one of state.ledger.destinations) {
    for (const worker of one.workers || []) {
      const key = `${worker.name} ${worker.pid}`;
      if (!workers.has(key)) workers.set(key, { ...worker, serves: [] });
      workers.get(key).serves.push(one.name);
    }
  }
  const lines = [...workers.values()].map((w) => [w.is_old ? "warn" : "good", w.name, `${w.serves.join(", ")} · ${w.version} · settings read ${ago(w.settings_ms)} ago${w.is_old ? ", before they changed here: restart it" : ""}`]);
  if (!lines.length) lines.push(["warn", "No worker", "Nothing is delivered until one runs: `dispatcher worker`, or `dispatcher up`."]);
  redraw($("workers"), lines, () => lines.map(([mark, name, text]) => make("li", { "data-level": mark }, make("span", { class: "mark", "aria-hidden": "true" }), " ", make("strong", {}, name), ` ${text}`)));

  const box = state.ledger.outbox;
  const sum = box.problem || `${count(box.waiting, "event")} ${box.waiting === 1 ? "waits" : "wait"} in ${count(box.number, "outbox", "outboxes")}${box.oldest_ms ? `, the oldest for ${ago(box.oldest_ms)}` : ""}; ${size(box.disk_bytes)} of ${size(box.limit_bytes)} on disk${box.refused ? `; LOST because an outbox was full: ${count(box.refused, "event")}` : ""}${box.damaged_pieces ? `; set aside: ${count(box.damaged_pieces, "damaged piece")}` : ""}.`;
  put($("outbox-sum"), sum);
  const boxes = box.listed.filter((/** @type {any} */ o) => o.alive || o.waiting || o.refused || o.problem).map((/** @type {any} */ o) => [o.problem || o.refused ? "bad" : o.alive ? "good" : "quiet", o.name, o.problem || `${count(o.waiting, "event")} waiting · ${size(o.disk_bytes)} on disk · process ${o.pid} ${o.alive ? "runs" : "has ended"}${o.refused ? ` · ${number.format(o.refused)} refused` : ""}`]);
  const others = box.number - boxes.length;
  if (others && boxes.length) boxes.push(["quiet", "", `and ${count(others, "more outbox", "more outboxes")}`]);
  redraw($("outboxes"), boxes, () => boxes.map(([mark, name, text]) => make("li", { "data-level": mark }, make("span", { class: "mark", "aria-hidden": "true" }), " ", make("strong", {}, name), ` ${text}`)));

  const banners = [];
  if (state.ledger.problem) banners.push(["bad", `Redis does not answer; trying again.${state.ledger.answered_ms ? ` These are its answers of ${clock(state.ledger.answered_ms, true)}.` : ""} ${state.ledger.problem}`]);
  for (const problem of state.ledger.settings_problems) banners.push(["bad", `The settings cannot be used: ${problem}`]);
  if (state.ledger.forbidden) banners.push(["warn", state.ledger.forbidden]);
  redraw($("banners"), banners, () => banners.map(([mark, text]) => make("p", { class: "banner", "data-level": mark }, text)));

  const foot = [];
  if (state.ledger.since_ms) foot.push(`Counted since ${new Date(state.ledger.since_ms).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" })}`);
  if (state.ledger.redis) foot.push(`Redis uses ${size(state.ledger.redis.used_bytes)}${state.ledger.redis.limit_bytes ? ` of ${size(state.ledger.redis.limit_bytes)}` : ", without a limit"}`);
  foot.push(`Signed in as ${state.session.user}`);
  redraw($("foot"), foot, () => foot.map((text) => make("span", {}, text)));
}
