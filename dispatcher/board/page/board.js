// @ts-check
// The board's page: it draws what /api/stream sends, and asks for orders only what the server has planned.
import { drawCharts } from "./charts.js";
import { drawDestination, openNamed, rows } from "./destination.js";
import "./doctor.js";
import { $, level, put } from "./dom.js";
import { drawOthers } from "./others.js";
import { ask, url } from "./server.js";
import { now, state } from "./state.js";
import { sums } from "./sums.js";
import { clock } from "./words.js";

/** @type {EventSource | null} */ let stream = null;
/** @type {Map<string, string>} */ const told = new Map();

/** Say a change of state once, and not again within five seconds. */
let saidAt = 0;
function tell() {
  const news = [];
  for (const one of state.ledger.destinations) {
    const word = one.level === "bad" || one.level === "warn" ? one.state : "well";
    if (told.has(one.name) && told.get(one.name) !== word && performance.now() - saidAt > 5000) news.push(`${one.name}: ${word === "well" ? one.state : word}`);
    if (!told.has(one.name) || performance.now() - saidAt > 5000) told.set(one.name, word);
  }
  if (news.length) { saidAt = performance.now(); put($("said"), news.join(". ")); }
}

function draw() {
  if (!state.ledger) return;
  sums();
  const names = new Set(state.ledger.destinations.map((/** @type {any} */ one) => one.name));
  for (const [name, row] of rows) if (!names.has(name)) { row.element.remove(); rows.delete(name); }
  for (const one of state.ledger.destinations) drawDestination(one);
  openNamed();
  drawOthers();
  put($("live-text"), `live · ${clock(now(), true)}`);
  level($("live"), state.ledger.problem ? "bad" : "good");
}

async function loadPast() {
  try {
    state.past = await ask("api/history");
  } catch { return; }
  const first = state.past.at_ms[0];
  if (first) put($("span"), state.past.at_ms[state.past.at_ms.length - 1] - first > state.past.kept_ms - 2 * state.past.every_ms ? "per s, last hour" : `per s, since ${clock(first)}`);
  for (const [name, row] of rows) drawCharts(name, row);
}

function connect() {
  if (stream || document.hidden) return;
  stream = new EventSource(url("api/stream"));
  stream.onmessage = (message) => {
    state.ledger = JSON.parse(message.data);
    state.cameAt = performance.now();
    draw();
    tell();
  };
  stream.onerror = () => {
    level($("live"), "bad");
    put($("live-text"), "the board does not answer; trying again …");
    // A browser gives up after some answers; the page does not.
    if (stream && stream.readyState === EventSource.CLOSED) { stream.close(); stream = null; setTimeout(connect, 3000); }
  };
}
// Nothing is read for a page that nobody sees.
document.addEventListener("visibilitychange", () => {
  if (document.hidden && stream) { stream.close(); stream = null; } else { renew(); connect(); }
});
async function renew() {
  try {
    state.session = await ask("api/session");
    put($("environment"), state.session.environment);
  } catch { return; }
}
setInterval(() => { if (!document.hidden) { loadPast(); if (!state.session.user) renew(); } }, 15000);
setInterval(() => { if (state.ledger && stream && stream.readyState === EventSource.OPEN) draw(); }, 1000);
await renew();
connect();
await loadPast();
