// @ts-check
// What `dispatcher doctor --problems` finds, on asking: it takes seconds, and looks at this machine.
import { $, level, make, put } from "./dom.js";
import { ask, words } from "./server.js";
import { count } from "./words.js";

const MARKS = /** @type {Record<string, string>} */ ({ error: "bad", warning: "warn" });

$("doctor-ask").addEventListener("click", async () => {
  const button = $("doctor-ask"), line = $("doctor-line"), list = $("doctor-list");
  button.setAttribute("aria-disabled", "true");
  level(line, "quiet");
  put(line, "looking, which takes some seconds …");
  list.replaceChildren();
  try {
    const { findings, counts } = await ask("api/doctor", {});
    list.replaceChildren(...findings.map((/** @type {any} */ one) => make("li", { "data-level": MARKS[one.level] || "quiet" },
      make("span", { class: "mark", "aria-hidden": "true" }), " ", make("strong", {}, `${one.level}: ${one.check}`), ` ${one.what}`, one.remedy ? make("p", { class: "remedy" }, `→ ${one.remedy}`) : null)));
    const fine = `${count(counts.ok, "check")} ${counts.ok === 1 ? "is" : "are"} fine`;
    put(line, findings.length ? `${count(counts.error, "error")} and ${count(counts.warning, "warning")}, the worst last; ${fine}.` : `No problem is found; ${fine}.`);
  } catch (error) { level(line, "bad"); put(line, words(error)); }
  button.removeAttribute("aria-disabled");
});
