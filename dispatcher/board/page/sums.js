// @ts-check
// The sums above: of all destinations together, and whether they close.
import { $, level, make, put, redraw } from "./dom.js";
import { state } from "./state.js";
import { ago, number, rate } from "./words.js";

export function sums() {
  const all = state.ledger.destinations.filter((/** @type {any} */ one) => one.name !== "emit");
  const total = (/** @type {string} */ field) => all.reduce((/** @type {number} */ sum, /** @type {any} */ one) => sum + (one[field] || 0), 0);
  const waiting = total("waiting"), dead = state.ledger.destinations.reduce((/** @type {number} */ sum, /** @type {any} */ one) => sum + one.dead, 0);
  const oldest = all.map((/** @type {any} */ one) => one.oldest_ms).filter(Boolean).sort((/** @type {number} */ a, /** @type {number} */ b) => a - b)[0];
  const box = state.ledger.outbox;
  const troubled = all.filter((/** @type {any} */ one) => one.level === "bad" || one.level === "warn").length;
  const tiles = [
    ["delivered per s", rate(total("per_second")), `${number.format(total("delivered"))} in all`, ""],
    ["waiting", number.format(waiting), waiting && oldest ? `the oldest for ${ago(oldest)}` : "", ""],
    ["dead", number.format(dead), dead ? "see the reasons below" : "", dead ? "bad" : ""],
    ["in outboxes here", box.waiting == null ? "not known" : number.format(box.waiting), box.oldest_ms ? `the oldest for ${ago(box.oldest_ms)}` : "", box.refused ? "bad" : ""],
    ["destinations", number.format(all.length), troubled ? `${troubled} with something to see` : "all as they should be", ""],
  ];
  const list = $("sums");
  if (!list.children.length) {
    for (const [name] of tiles) list.append(make("div", {}, make("dt", {}, name), make("dd", {}, make("span", { class: "figure" }), make("small"))));
  }
  tiles.forEach(([, figure, note, mark], at) => {
    const tile = list.children[at];
    level(tile, mark);
    put(tile.querySelector(".figure"), figure);
    put(tile.querySelector("small"), note);
  });
  const wrong = state.ledger.destinations.filter((/** @type {any} */ one) => !one.closes);
  const line = $("closing");
  level(line, wrong.length ? "bad" : "good");
  redraw(line, wrong, () => [
    make("span", { class: "mark", "aria-hidden": "true" }),
    wrong.length
      ? make("span", { class: "word" }, wrong.map((/** @type {any} */ one) => `The sum of ${one.name} does not close: ${number.format(one.accepted)} accepted, but ${number.format(one.delivered + one.waiting + one.dead + one.filtered)} found. Please report it.`).join(" "))
      : "The sum closes: accepted = delivered + waiting + dead + filtered.",
  ]);
}
