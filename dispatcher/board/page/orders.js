// @ts-check
// Orders: what the buttons do. The server says what it would be, with a count, before a second press does it.
import { $, level, make, put } from "./dom.js";
import { ask, words } from "./server.js";

const TITLES = /** @type {Record<string, string>} */ ({ retry: "Retry", pause: "Pause", resume: "Resume", replay: "Replay dead letters of", drop: "Drop dead letters of" });
/** @type {any} */ let order = null;
export async function openOrder(/** @type {string} */ action, /** @type {string} */ destination, /** @type {string} */ reason) {
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
  } catch (error) { level(box, "bad"); put(box, words(error)); }
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
  } catch (error) { level(box, "bad"); put(box, words(error)); }
});
$("order-close").addEventListener("click", () => $("order").close());
