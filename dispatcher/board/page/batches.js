// @ts-check
// The batches that wait for a destination, each with its task in Flower.
import { $, make, put } from "./dom.js";
import { ask, words } from "./server.js";
import { state } from "./state.js";
import { ago, count, until } from "./words.js";

/** The page of a task in Flower, or of all of them; null where nobody said where Flower is. */
export function inFlower(/** @type {string} */ path) {
  const flower = state.session.flower_url;
  return flower ? `${flower.replace(/\/$/, "")}/${path}` : null;
}

const STATES = /** @type {Record<string, string>} */ ({ queued: "queued", claimed: "under way", parked: "parked" });

function line(/** @type {any} */ batch) {
  const due = batch.due_ms == null ? "" : batch.state === "parked" ? `, next try ${until(batch.due_ms)}` : `, its lease ends ${until(batch.due_ms)}`;
  const flower = inFlower(`task/${encodeURIComponent(batch.task_id)}`);
  return make("li", {}, make("div", { class: "line" },
    make("strong", {}, `${STATES[batch.state]}: ${count(batch.count, "event")}`),
    make("span", { class: "quiet" }, `${batch.example ? `such as ${batch.example}, ` : ""}put ${ago(batch.put_ms)} ago, ${count(batch.attempts, "attempt")}${due}`),
    flower ? make("a", { href: flower, rel: "noreferrer", "aria-label": `Task in Flower: ${batch.task_id}` }, "Task in Flower") : null),
    make("p", { class: "quiet" }, batch.id), batch.error ? make("p", { class: "error" }, batch.error) : null);
}

export async function listBatches(/** @type {string} */ destination) {
  const list = $("batches-list"), note = $("batches-note");
  put($("batches-title"), `Batches that wait for ${destination}`);
  put(note, "reading …");
  list.replaceChildren();
  $("batches").showModal();
  try {
    const found = await ask(`api/waiting?${new URLSearchParams({ destination })}`);
    put(note, `${found.batches.length ? "The oldest first. " : "None waits any more. "}${found.more ? `The first ${found.batches.length}; \`dispatcher waiting list ${destination}\` has all.` : ""}`);
    list.replaceChildren(...found.batches.map(line));
  } catch (error) { put(note, words(error)); }
}
$("batches-close").addEventListener("click", () => $("batches").close());
