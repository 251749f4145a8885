// @ts-check
// Questions to the board's server.
import { state } from "./state.js";

/** Without the login that the page's own address may have in it, with which `fetch` takes no URL. */
export const url = (/** @type {string} */ path) => new URL(path, `${location.origin}${location.pathname}`).href;

/** What the server answers. Throws an Error with its words where it refuses. @returns {Promise<any>} */
export async function ask(/** @type {string} */ path, /** @type {any} */ body = undefined) {
  const options = body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json", "X-Board-Token": state.session.token }, body: JSON.stringify(body) };
  const answer = await fetch(url(path), { ...options, credentials: "same-origin" });
  const content = await answer.json().catch(() => ({ error: `the board answered ${answer.status}` }));
  if (!answer.ok) throw new Error(content.error);
  return content;
}

export const words = (/** @type {unknown} */ error) => `${error instanceof Error ? error.message : error}`;
