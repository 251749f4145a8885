// @ts-check
// Charts: the last hour of a destination, small in its row and larger below.
import { make } from "./dom.js";
import { now, state } from "./state.js";
import { clock, number, rate } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
function shape(/** @type {string} */ tag, /** @type {Record<string, any>} */ attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  return element;
}

/** The last hour as a line with a filled ground; a stretch in which nothing was read is a gap. */
function chart(/** @type {number[]} */ at, /** @type {(number | null)[]} */ values, /** @type {string} */ label) {
  const svg = shape("svg", { viewBox: "0 0 240 40", preserveAspectRatio: "none", role: "img", "aria-label": label });
  svg.append(shape("line", { class: "base", x1: 0, y1: 39.5, x2: 240, y2: 39.5 }));
  const end = Math.max(now(), at[at.length - 1] || 0);
  // The whole width, until an hour is there.
  const width = Math.min(state.past.kept_ms, Math.max(300000, end - (at[0] || end)));
  const highest = Math.max(...values.map((v) => v || 0), 1e-9);
  /** @type {number[][]} */ let run = [];
  const flush = () => {
    if (run.length > 1) {
      const points = run.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`);
      svg.append(shape("path", { d: `M${run[0][0].toFixed(1)},39.5L${points.join("L")}L${run[run.length - 1][0].toFixed(1)},39.5Z` }));
      svg.append(shape("polyline", { points: points.join(" ") }));
    }
    run = [];
  };
  values.forEach((value, index) => {
    if (value == null || (index && at[index] - at[index - 1] > 3 * state.past.every_ms)) flush();
    if (value != null) run.push([240 * (1 - (end - at[index]) / width), 38.5 - 36 * value / highest]);
  });
  flush();
  return svg;
}

/** Draw the charts of a destination's row. */
export function drawCharts(/** @type {string} */ name, /** @type {any} */ row) {
  const series = state.past && state.past.destinations[name];
  if (!series) return;
  // The samples of the board, and what is now.
  const at = [...state.past.at_ms, now()], isKnown = row.shown.per_second != null;
  const perSecond = [...series.per_second, isKnown ? row.shown.per_second : null], waiting = [...series.waiting, row.shown.waiting];
  // The first sample has no rate yet.
  if (perSecond.length === 2 && perSecond[0] == null) perSecond[0] = perSecond[1];
  const since = state.past.at_ms.length ? clock(state.past.at_ms[0]) : "now";
  const label = (/** @type {string} */ what, /** @type {(number | null)[]} */ values) => {
    const known = values.filter((v) => v != null);
    return known.length ? `${name}, ${what} since ${since}: ${rate(known[known.length - 1])} now, ${rate(Math.max(.../** @type {number[]} */ (known)))} at most` : `${name}, ${what}: nothing is known yet`;
  };
  row.chart.replaceChildren(chart(at, perSecond, label("delivered per second", perSecond)));
  const isWhole = state.past.at_ms.length && state.past.at_ms[state.past.at_ms.length - 1] - state.past.at_ms[0] > state.past.kept_ms - 2 * state.past.every_ms;
  row.parts.charts.replaceChildren(.../** @type {[string, (number | null)[]][]} */ ([["delivered per s", perSecond], ["waiting", waiting]]).map(([what, values]) =>
    make("figure", {}, chart(at, values, label(what, values)), make("figcaption", { "aria-hidden": "true" }, make("span", {}, `${what}, ${isWhole ? "last hour" : `since ${since}`}`), make("span", {}, `highest ${(what === "waiting" ? number.format : rate)(Math.max(...values.map((/** @type {number | null} */ v) => v || 0)))}`)))));
}
