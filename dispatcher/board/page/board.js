// @ts-check
// The board's page: it draws what /api/stream sends, and asks for orders only what the server has planned.

/** @typedef {{word?: string, level?: string}} Level */
/** @type {any} */ let session = { allow_control: false, token: "", flower_url: null, environment: "", user: "" };
/** @type {any} */ let ledger = null;
/** @type {any} */ let past = null;
/** When the ledger came, by the clock of `performance`. */ let cameAt = 0;
/** @type {EventSource | null} */ let stream = null;
/** @type {Map<string, any>} */ const rows = new Map();
/** @type {Map<string, string>} */ const told = new Map();

const $ = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));
const number = new Intl.NumberFormat("en");
const count = (/** @type {number} */ n, /** @type {string} */ noun, plural = `${noun}s`) => `${number.format(n)} ${n === 1 ? noun : plural}`;

/** An element with attributes and children; text goes in as text. @returns {any} */
function make(/** @type {string} */ tag, /** @type {Record<string, any>} */ attributes = {}, /** @type {any[]} */ ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, String(value));
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

/** Touch the page only where something changed, so that screen readers and selections are left alone. */
function put(/** @type {any} */ element, /** @type {string} */ text) {
  if (element.textContent !== text) element.textContent = text;
}
function level(/** @type {any} */ element, /** @type {string} */ value) {
  if (element.dataset.level !== value) element.dataset.level = value;
}
/** Children anew, if what they show is another than at the last call. */
function redraw(/** @type {any} */ element, /** @type {any} */ content, /** @type {() => any[]} */ draw) {
  const key = JSON.stringify(content);
  if (element.drawn === key || element.contains(document.activeElement)) return;
  element.drawn = key;
  element.replaceChildren(...draw());
}

const now = () => (ledger ? ledger.at_ms + performance.now() - cameAt : Date.now());
function span(/** @type {number} */ ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 120) return `${s} s`;
  if (s < 7200) return `${Math.floor(s / 60)} min`;
  return s < 172800 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86400)} d`;
}
const ago = (/** @type {number} */ ms) => span(now() - ms);
const until = (/** @type {number} */ ms) => (ms <= now() ? "now" : `in ${span(ms - now() + 999)}`);
const clock = (/** @type {number} */ ms, seconds = false) => {
  const at = new Date(ms);
  return at.toLocaleTimeString("en-GB", seconds ? {} : { hour: "2-digit", minute: "2-digit" });
};
function size(/** @type {number} */ bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  const units = ["kB", "MB", "GB", "TB"];
  let value = bytes / 1000, at = 0;
  while (value >= 999.5 && at < units.length - 1) { value /= 1000; at += 1; }
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[at]}`;
}
const rate = (/** @type {number | null} */ value) => (value == null ? "–" : value >= 10 || value === 0 ? number.format(Math.round(value)) : value.toFixed(1));

// ------------------------------------------------------------------ the sums above

function sums() {
  const all = ledger.destinations.filter((/** @type {any} */ one) => one.name !== "emit");
  const total = (/** @type {string} */ field) => all.reduce((/** @type {number} */ sum, /** @type {any} */ one) => sum + (one[field] || 0), 0);
  const waiting = total("waiting"), dead = ledger.destinations.reduce((/** @type {number} */ sum, /** @type {any} */ one) => sum + one.dead, 0);
  const oldest = all.map((/** @type {any} */ one) => one.oldest_ms).filter(Boolean).sort((/** @type {number} */ a, /** @type {number} */ b) => a - b)[0];
  const box = ledger.outbox;
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
  const wrong = ledger.destinations.filter((/** @type {any} */ one) => !one.closes);
  const line = $("closing");
  level(line, wrong.length ? "bad" : "good");
  redraw(line, wrong, () => [
    make("span", { class: "mark", "aria-hidden": "true" }),
    wrong.length
      ? make("span", { class: "word" }, wrong.map((/** @type {any} */ one) => `The sum of ${one.name} does not close: ${number.format(one.accepted)} accepted, but ${number.format(one.delivered + one.waiting + one.dead + one.filtered)} found. Please report it.`).join(" "))
      : "The sum closes: accepted = delivered + waiting + dead + filtered.",
  ]);
}

// ------------------------------------------------------------------ a destination

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
  draw();
}

function drawDestination(/** @type {any} */ one) {
  let row = rows.get(one.name);
  if (!row) {
    row = newRow(one.name);
    rows.set(one.name, row);
    $("ledger").append(row.element);
    drawCharts(one.name);
  }
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
    notes.push([breaker.state === "open" ? "bad" : "warn", `Breaker open for ${ago(breaker.opened_ms)}${breaker.cause ? ` (${breaker.cause})` : ""}; next try ${until(breaker.until_ms)}.`]);
  }
  if (one.workers && !one.workers.length && one.is_served && one.name !== "emit") notes.push([one.waiting ? "bad" : "warn", "No worker serves it."]);
  if (one.rate && one.rate.is_slowed) {
    notes.push(["warn", `Slowed to ${one.rate.current_per_second.toPrecision(3)} of ${one.rate.per_second} requests a second: `, one.rate.error]);
  }
  const recovered = (one.last_delivered_ms || 0) > (one.last_error_ms || 0);
  const recent = one.last_error_ms && now() - one.last_error_ms < (recovered && !one.dead ? 60000 : 3600000);
  if (one.last_error && (recent || (one.parked && !recovered))) {
    notes.push([recovered ? "quiet" : "bad", `Last error, ${ago(one.last_error_ms)} ago: `, one.last_error]);
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
    ["breaker", `${one.breaker.state}${one.breaker.opened ? `, opened ${count(one.breaker.opened, "time")}` : ""}`],
    ["rate limit", one.rate ? `${one.rate.current_per_second.toPrecision(3)} of ${one.rate.per_second} requests a second` : "none"],
  ];
  redraw(parts.waits, pairs, () => pairs.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
  sections.dead.hidden = !one.dead;
  redraw(parts.dead, [one.dead_by_reason, session.allow_control], () => one.dead_by_reason.map(([reason, n]) => {
    const gone = (reason === "filed" || reason === "unkept");
    const button = (/** @type {string} */ word, /** @type {() => void} */ act) => make("button", { type: "button", class: "small", "aria-label": `${word} dead letters of ${one.name}: ${reason}`, onclick: act }, word);
    return make("li", {}, make("span", { class: "figure" }, number.format(n)), make("span", { class: "what" }, reason),
      gone ? null : button("List", () => listLetters(one.name, reason)),
      gone || isEmit || !session.allow_control ? null : button("Replay …", () => openOrder("replay", one.name, reason)),
      gone || !session.allow_control ? null : button("Drop …", () => openOrder("drop", one.name, reason)));
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
  redraw(parts.controls, [session, paused], () => [
    ...(session.allow_control
      ? [["retry", "Retry now …"], paused ? ["resume", "Resume …"] : ["pause", "Pause …"]].map(([action, word]) =>
          make("button", { type: "button", "aria-label": `${word} ${one.name}`, onclick: () => openOrder(action, one.name, "") }, word))
      : [make("span", { class: "quiet" }, "This board only shows. With --allow-control it retries, pauses, resumes, replays and drops.")]),
    session.flower_url ? make("a", { href: `${session.flower_url.replace(/\/$/, "")}/tasks`, rel: "noreferrer" }, "Tasks in Flower") : null,
  ].filter(Boolean));
}

// ------------------------------------------------------------------ charts

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
  const width = Math.min(past.kept_ms, Math.max(300000, end - (at[0] || end)));
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
    if (value == null || (index && at[index] - at[index - 1] > 3 * past.every_ms)) flush();
    if (value != null) run.push([240 * (1 - (end - at[index]) / width), 38.5 - 36 * value / highest]);
  });
  flush();
  return svg;
}

function drawCharts(/** @type {string} */ name) {
  const row = rows.get(name), series = past && past.destinations[name];
  if (!row || !series) return;
  const since = past.at_ms.length ? clock(past.at_ms[0]) : "now";
  const label = (/** @type {string} */ what, /** @type {(number | null)[]} */ values) => {
    const known = values.filter((v) => v != null);
    return known.length ? `${name}, ${what} since ${since}: ${rate(known[known.length - 1])} now, ${rate(Math.max(.../** @type {number[]} */ (known)))} at most` : `${name}, ${what}: nothing is known yet`;
  };
  row.chart.replaceChildren(chart(past.at_ms, series.per_second, label("delivered per second", series.per_second)));
  const isWhole = past.at_ms.length && past.at_ms[past.at_ms.length - 1] - past.at_ms[0] > past.kept_ms - 2 * past.every_ms;
  row.parts.charts.replaceChildren(...[["delivered per s", series.per_second], ["waiting", series.waiting]].map(([what, values]) =>
    make("figure", {}, chart(past.at_ms, values, label(what, values)), make("figcaption", { "aria-hidden": "true" }, make("span", {}, `${what}, ${isWhole ? "last hour" : `since ${since}`}`), make("span", {}, `highest ${(what === "waiting" ? number.format : rate)(Math.max(...values.map((/** @type {number | null} */ v) => v || 0)))}`)))));
}

async function loadPast() {
  try {
    past = await ask("api/history");
  } catch { return; }
  const first = past.at_ms[0];
  if (first) put($("span"), past.at_ms[past.at_ms.length - 1] - first > past.kept_ms - 2 * past.every_ms ? "per s, last hour" : `per s, since ${clock(first)}`);
  for (const name of rows.keys()) drawCharts(name);
}

// ------------------------------------------------------------------ the rest of the page

function drawOthers() {
  /** @type {Map<string, any>} */ const workers = new Map();
  for (const one of ledger.destinations) {
    for (const worker of one.workers || []) {
      const key = `${worker.name} ${worker.pid}`;
      if (!workers.has(key)) workers.set(key, { ...worker, serves: [] });
      workers.get(key).serves.push(one.name);
    }
  }
  const lines = [...workers.values()].map((w) => [w.is_old ? "warn" : "good", w.name, `${w.serves.join(", ")} · ${w.version} · settings read ${ago(w.settings_ms)} ago${w.is_old ? ", before they changed here: restart it" : ""}`]);
  if (!lines.length) lines.push(["warn", "No worker", "Nothing is delivered until one runs: `dispatcher worker`, or `dispatcher up`."]);
  redraw($("workers"), lines, () => lines.map(([mark, name, text]) => make("li", { "data-level": mark }, make("span", { class: "mark", "aria-hidden": "true" }), " ", make("strong", {}, name), ` ${text}`)));

  const box = ledger.outbox;
  const sum = box.problem || `${count(box.waiting, "event")} ${box.waiting === 1 ? "waits" : "wait"} in ${count(box.number, "outbox", "outboxes")}${box.oldest_ms ? `, the oldest for ${ago(box.oldest_ms)}` : ""}; ${size(box.disk_bytes)} of ${size(box.limit_bytes)} on disk${box.refused ? `; LOST because an outbox was full: ${count(box.refused, "event")}` : ""}${box.damaged_pieces ? `; set aside: ${count(box.damaged_pieces, "damaged piece")}` : ""}.`;
  put($("outbox-sum"), sum);
  const boxes = box.listed.filter((/** @type {any} */ o) => o.alive || o.waiting || o.refused || o.problem).map((/** @type {any} */ o) => [o.problem || o.refused ? "bad" : o.alive ? "good" : "quiet", o.name, o.problem || `${count(o.waiting, "event")} waiting · ${size(o.disk_bytes)} on disk · process ${o.pid} ${o.alive ? "runs" : "has ended"}${o.refused ? ` · ${number.format(o.refused)} refused` : ""}`]);
  const others = box.number - boxes.length;
  if (others && boxes.length) boxes.push(["quiet", "", `and ${count(others, "more outbox", "more outboxes")}`]);
  redraw($("outboxes"), boxes, () => boxes.map(([mark, name, text]) => make("li", { "data-level": mark }, make("span", { class: "mark", "aria-hidden": "true" }), " ", make("strong", {}, name), ` ${text}`)));

  const banners = [];
  if (ledger.problem) banners.push(["bad", `Redis does not answer; trying again.${ledger.answered_ms ? ` These are its answers of ${clock(ledger.answered_ms, true)}.` : ""} ${ledger.problem}`]);
  for (const problem of ledger.settings_problems) banners.push(["bad", `The settings cannot be used: ${problem}`]);
  if (ledger.forbidden) banners.push(["warn", ledger.forbidden]);
  redraw($("banners"), banners, () => banners.map(([mark, text]) => make("p", { class: "banner", "data-level": mark }, text)));

  const foot = [];
  if (ledger.since_ms) foot.push(`Counted since ${new Date(ledger.since_ms).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" })}`);
  if (ledger.redis) foot.push(`Redis uses ${size(ledger.redis.used_bytes)}${ledger.redis.limit_bytes ? ` of ${size(ledger.redis.limit_bytes)}` : ", without a limit"}`);
  foot.push(`Signed in as ${session.user}`);
  redraw($("foot"), foot, () => foot.map((text) => make("span", {}, text)));
}

/** Say a change of state once, and not again within five seconds. */
let saidAt = 0;
function tell() {
  const news = [];
  for (const one of ledger.destinations) {
    const word = one.level === "bad" || one.level === "warn" ? one.state : "well";
    if (told.has(one.name) && told.get(one.name) !== word && performance.now() - saidAt > 5000) news.push(`${one.name}: ${word === "well" ? one.state : word}`);
    if (!told.has(one.name) || performance.now() - saidAt > 5000) told.set(one.name, word);
  }
  if (news.length) { saidAt = performance.now(); put($("said"), news.join(". ")); }
}

function draw() {
  if (!ledger) return;
  sums();
  const names = new Set(ledger.destinations.map((/** @type {any} */ one) => one.name));
  for (const [name, row] of rows) if (!names.has(name)) { row.element.remove(); rows.delete(name); }
  for (const one of ledger.destinations) drawDestination(one);
  drawOthers();
  put($("live-text"), `live · ${clock(now(), true)}`);
  level($("live"), ledger.problem ? "bad" : "good");
}

// ------------------------------------------------------------------ questions to the server

/** Without the login that the page's own address may have in it, with which `fetch` takes no URL. */
const url = (/** @type {string} */ path) => new URL(path, `${location.origin}${location.pathname}`).href;

async function ask(/** @type {string} */ path, /** @type {any} */ body = undefined) {
  const options = body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json", "X-Board-Token": session.token }, body: JSON.stringify(body) };
  const answer = await fetch(url(path), { ...options, credentials: "same-origin" });
  const content = await answer.json().catch(() => ({ error: `the board answered ${answer.status}` }));
  if (!answer.ok) throw new Error(content.error);
  return content;
}

const TITLES = /** @type {Record<string, string>} */ ({ retry: "Retry", pause: "Pause", resume: "Resume", replay: "Replay dead letters of", drop: "Drop dead letters of" });
/** @type {any} */ let order = null;
async function openOrder(/** @type {string} */ action, /** @type {string} */ destination, /** @type {string} */ reason) {
  order = { action, destination, reason };
  put($("order-title"), `${TITLES[action]} ${destination}`);
  put($("order-close"), "Cancel");
  put($("order-do"), { retry: "Retry now", pause: "Pause", resume: "Resume", replay: "Replay", drop: "Drop for good" }[action] || action);
  $("order-do").hidden = false;
  const fields = $("order-fields");
  fields.replaceChildren();
  if (action === "pause") {
    const options = [["", "until somebody resumes it"], ["600", "10 minutes"], ["3600", "an hour"], ["14400", "4 hours"], ["86400", "a day"]];
    fields.append(
      make("label", { class: "field" }, "For how long", make("select", { onchange: (/** @type {any} */ e) => { order.seconds = e.target.value ? Number(e.target.value) : null; plan(); } }, ...options.map(([value, text]) => make("option", { value }, text)))),
      make("label", { class: "field" }, "Why, for those who look (no name of a person)", make("input", { type: "text", maxlength: 200, oninput: (/** @type {any} */ e) => { order.reason = e.target.value; } })));
  }
  if (action === "retry") {
    fields.append(make("label", { class: "field" }, make("span", {}, make("input", { type: "checkbox", onchange: (/** @type {any} */ e) => { order.at_once = e.target.checked; plan(); } }), "At once, also if it has asked for more time (429)")));
  }
  $("order").showModal();
  await plan();
}

async function plan() {
  const button = $("order-do"), box = $("order-plan");
  button.disabled = true;
  delete order.count;
  level(box, "");
  put(box, "counting …");
  const asked = order;
  try {
    const found = await ask("api/plan", order);
    if (asked !== order) return;
    put(box, found.words);
    if (order.action === "replay" || order.action === "drop") order.count = found.count;
    button.disabled = !found.can_be_done;
  } catch (error) { level(box, "bad"); put(box, `${error instanceof Error ? error.message : error}`); }
}

$("order-do").addEventListener("click", async () => {
  const button = $("order-do"), box = $("order-plan");
  button.disabled = true;
  put(box, "working …");
  try {
    put(box, (await ask("api/do", order)).words);
    button.hidden = true;
    put($("order-close"), "Close");
    $("order-close").focus();
  } catch (error) { level(box, "bad"); put(box, `${error instanceof Error ? error.message : error}`); }
});
$("order-close").addEventListener("click", () => $("order").close());
$("letters-close").addEventListener("click", () => $("letters").close());

async function listLetters(/** @type {string} */ destination, /** @type {string} */ reason) {
  const list = $("letters-list"), note = $("letters-note");
  put($("letters-title"), `Dead letters of ${destination}: ${reason}`);
  put(note, "reading …");
  list.replaceChildren();
  $("letters").showModal();
  try {
    const found = await ask(`api/dead?${new URLSearchParams({ destination, reason })}`);
    put(note, `${found.letters.length ? "The oldest first. " : "None is in Redis any more. "}${found.more ? `The first ${found.letters.length}; \`dispatcher dead list ${destination}\` has all. ` : ""}To look at an event's data is logged.`);
    list.replaceChildren(...found.letters.map((/** @type {any} */ letter) => {
      const place = make("div");
      const button = make("button", { type: "button", class: "small", "aria-label": `Show the event of dead letter ${letter.id}`, onclick: async () => {
        button.disabled = true;
        try {
          const whole = await ask("api/dead/show", { destination, id: letter.id });
          place.replaceChildren(...(whole.answer ? [make("p", {}, "It answered: ", make("span", { class: "error" }, whole.answer))] : []), make("pre", { tabindex: "0" }, JSON.stringify(whole.event, null, 2)));
        } catch (error) { place.replaceChildren(make("p", { class: "error" }, `${error instanceof Error ? error.message : error}`)); }
      } }, "Show its data");
      return make("li", {}, make("div", { class: "line" }, make("strong", {}, letter.name), make("span", { class: "quiet" }, `died ${ago(letter.died_ms)} ago, ${count(letter.attempts, "attempt")}${letter.count > 1 ? `, stands for ${number.format(letter.count)} events` : ""} · ${letter.id}`), button), make("p", { class: "error" }, letter.error), place);
    }));
  } catch (error) { put(note, `${error instanceof Error ? error.message : error}`); }
}

// ------------------------------------------------------------------ the stream

function connect() {
  if (stream || document.hidden) return;
  stream = new EventSource(url("api/stream"));
  stream.onmessage = (message) => {
    ledger = JSON.parse(message.data);
    cameAt = performance.now();
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
    session = await ask("api/session");
    put($("environment"), session.environment);
  } catch { return; }
}
setInterval(() => { if (!document.hidden) { loadPast(); if (!session.user) renew(); } }, 15000);
setInterval(() => { if (ledger && stream && stream.readyState === EventSource.OPEN) draw(); }, 1000);
await renew();
connect();
await loadPast();
