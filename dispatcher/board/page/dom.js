// @ts-check
// Elements: made, and changed only where what they show is another, so that focus, selections and screen readers stay.

export const $ = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));

/** An element with attributes and children; text goes in as text, and a handler as `onclick`. @returns {any} */
export function make(/** @type {string} */ tag, /** @type {Record<string, any>} */ attributes = {}, /** @type {any[]} */ ...children) {
  const element = /** @type {any} */ (document.createElement(tag));
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element[name] = value;
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, String(value));
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

export function put(/** @type {any} */ element, /** @type {string} */ text) {
  if (element.textContent !== text) element.textContent = text;
}
export function level(/** @type {any} */ element, /** @type {string} */ value) {
  if (element.dataset.level !== value) element.dataset.level = value;
}

/** Make an element like a fresh one, and keep what of it is alike: a button stays the one that has the focus. */
function become(/** @type {any} */ kept, /** @type {any} */ fresh) {
  for (const { name } of [...kept.attributes]) if (!fresh.hasAttribute(name)) kept.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (kept.getAttribute(name) !== value) kept.setAttribute(name, value);
  kept.onclick = fresh.onclick;
  fill(kept, [...fresh.childNodes]);
}
function fill(/** @type {any} */ element, /** @type {any[]} */ children) {
  const before = [...element.childNodes];
  children.forEach((child, at) => {
    const kept = before[at];
    const node = typeof child === "string" ? document.createTextNode(child) : child;
    if (!kept) element.append(node);
    else if (kept.nodeName !== node.nodeName) kept.replaceWith(node);
    else if (node.nodeType === Node.TEXT_NODE) { if (kept.data !== node.data) kept.data = node.data; }
    else become(kept, node);
  });
  for (const left of before.slice(children.length)) left.remove();
}

/** Give an element other children, if what they show is another than at the last call. */
export function redraw(/** @type {any} */ element, /** @type {any} */ content, /** @type {() => any[]} */ draw) {
  const key = JSON.stringify(content);
  if (element.drawn === key) return;
  element.drawn = key;
  const hadFocus = element.contains(document.activeElement);
  fill(element, draw());
  // What had the focus is gone: the keyboard goes on at the heading above, and not at the top of the page.
  if (hadFocus && !element.contains(document.activeElement)) element.closest("article")?.querySelector(".toggle")?.focus();
}
