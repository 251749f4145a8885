// @ts-check
// Dead letters: a list without data, and the data of one on asking.
import { $, make, put } from "./dom.js";
import { ask, words } from "./server.js";
import { ago, count, number } from "./words.js";

export async function listLetters(/** @type {string} */ destination, /** @type {string} */ reason) {
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
      const button = make("button", { type: "button", class: "small", "aria-label": `Show its data: dead letter ${letter.id}`, onclick: async () => {
        button.disabled = true;
        try {
          const whole = await ask("api/dead/show", { destination, id: letter.id });
          place.replaceChildren(...(whole.answer ? [make("p", {}, "It answered: ", make("span", { class: "error" }, whole.answer))] : []), make("pre", { tabindex: "0" }, JSON.stringify(whole.event, null, 2)));
        } catch (error) { place.replaceChildren(make("p", { class: "error" }, words(error))); }
      } }, "Show its data");
      return make("li", {}, make("div", { class: "line" }, make("strong", {}, letter.name), make("span", { class: "quiet" }, `died ${ago(letter.died_ms)} ago, ${count(letter.attempts, "attempt")}${letter.count > 1 ? `, stands for ${number.format(letter.count)} events` : ""} · ${letter.id}`), button), make("p", { class: "error" }, letter.error), place);
    }));
  } catch (error) { put(note, words(error)); }
}


$("letters-close").addEventListener("click", () => $("letters").close());
