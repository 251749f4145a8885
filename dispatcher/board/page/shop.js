// @ts-check
// The shop: its buttons emit events as a site's page does, and below stands what becomes of them.
import { $, level, make, put } from "./dom.js";
import { EventRow, know } from "./live_event.js";
import { ask, url, words } from "./server.js";

const SHELF = [
  { product: "tea", title: "Green tea", price: 6.5, text: "A hundred grams, from the first harvest." },
  { product: "pot", title: "A pot", price: 24, text: "Cast iron, for four cups." },
  { product: "book", title: "The book of tea", price: 12, text: "Kakuzo Okakura, 1906." },
];
const money = new Intl.NumberFormat("en", { style: "currency", currency: "EUR" });

/** @type {Map<string, number>} */ const basket = new Map();
/** @type {Map<string, EventRow>} */ const rows = new Map();
const total = () => SHELF.reduce((sum, one) => sum + one.price * (basket.get(one.product) ?? 0), 0);
const order = `${Date.now() % 100000}`;
let orders = 0;

function emit(/** @type {string} */ name, /** @type {any} */ data) {
  const id = /** @type {any} */ (window).Tracker.emit(name, data);
  const row = new EventRow(id, name, Date.now());
  rows.set(id, row);
  row.ways.replaceChildren("in this browser, on its way to the collector");
  $("nothing").hidden = true;
  $("events").prepend(row.element);
}

function showBasket() {
  const count = [...basket.values()].reduce((sum, n) => sum + n, 0);
  put($("basket"), count ? `${count} in the basket, for ${money.format(total())}.` : "The basket is empty.");
  $("pay").disabled = !count;
}

function shelf() {
  $("shelf").append(...SHELF.map((one) => make("li", {},
    make("h3", {}, one.title), make("p", {}, one.text), make("p", { class: "quiet" }, money.format(one.price)),
    make("p", { class: "buttons" },
      make("button", { type: "button", "aria-label": `Look at it: ${one.title}`, onclick: () => emit("shop.product.viewed", { product: one.product, price: one.price }) }, "Look at it"),
      make("button", { type: "button", "aria-label": `Into the basket: ${one.title}`, onclick: () => {
        basket.set(one.product, (basket.get(one.product) ?? 0) + 1);
        showBasket();
        emit("shop.basket.filled", { product: one.product, price: one.price, count: basket.get(one.product) });
      } }, "Into the basket")))));
  $("pay").onclick = () => {
    orders += 1;
    emit("shop.order.paid", { order: `${order}-${orders}`, total: total(), currency: "EUR", items: Object.fromEntries(basket) });
    basket.clear();
    showBasket();
  };
  $("address").onsubmit = (/** @type {Event} */ event) => {
    event.preventDefault();
    const email = $("email").value.trim();
    if (email) emit("shop.address.left", { email });
    $("email").value = "";
  };
}

function watch() {
  const stream = new EventSource(url("api/live?name=shop.*"));
  stream.onmessage = (message) => {
    level($("live"), "good");
    put($("live-text"), "looking");
    for (const item of JSON.parse(message.data).items ?? []) rows.get(item.id)?.take(item);
  };
  stream.onerror = () => { level($("live"), "bad"); put($("live-text"), "the board does not answer"); };
}

/** The client comes from the collector, as on a site's page. */
function load(/** @type {any} */ shop) {
  return new Promise((resolve, reject) => {
    const script = make("script", { src: shop.script, "data-key": shop.key, "data-url": shop.url, "data-delay": "100" });
    script.onload = resolve;
    script.onerror = () => reject(new Error(`The collector at ${shop.script} does not answer. It is part of dispatcher up: is it running?`));
    document.head.append(script);
  });
}

async function start() {
  try {
    const session = await ask("api/live/session");
    if (!session.shop) throw new Error("There is no shop here: `dispatcher up --shop` opens it, in development.");
    know(session);
    await load(session.shop);
    shelf();
    watch();
  } catch (error) {
    $("banners").replaceChildren(make("p", { class: "banner", "data-level": "warn" }, words(error)));
  }
}
start();
