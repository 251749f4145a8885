"""The vendors' snippets of a page: their own, as packages of npm ship them, and stand-ins of globals for the others.

Nothing of a vendor's network is reached, so that a snippet's queue stays. Each call that it gets is noted in
localStorage. A page ``as_loaded`` has what the vendor's script makes of its snippet instead.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

_PACKAGES: Final = Path(__file__).parents[1] / "peers/node_modules"
# Google Tag Manager's, gtag's, the pixel's, and Segment's.
_FILES: Final = (
    _PACKAGES / "react-gtm-module/dist/Snippets.js",
    _PACKAGES / "ga-gtag/lib/index.js",
    _PACKAGES / "react-facebook-pixel/dist/fb-pixel.js",
    _PACKAGES / "@segment/snippet/dist/max.template.js",
)
#: What the tools are called in ``READ_CALLS``.
TOOLS: Final = ("dataLayer", "optimizely", "_kiq", "gtag", "fbq", "analytics")

# What a bundler would make of each package: its exports, without anything of Node.
_LOADER: Final = """
const load = (text) => {
  const module = {exports: {}};
  new Function("module", "exports", "require", text)(module, module.exports, () => () => {});
  return module.exports;
};
const run = (text) => document.head.append(Object.assign(document.createElement("script"), {text}));
const [tagManager, gtagModule, pixel, segment] = PACKAGES.map(load);
run(tagManager.tags({id: "GTM-TEST", events: {}, dataLayer: {}, dataLayerName: "dataLayer"}).script);
gtagModule.install("G-TEST");
window.gtag = gtagModule.gtag;
pixel.default.init("1");
run(segment({globalAnalyticsKey: "analytics", apiKey: "k", host: "cdn.segment.com", ajsPath: "/a.js", optionalCDN: "",
             load: 'analytics.load("k");', page: ""}));
// Documented, but in no package.
window.optimizely = window.optimizely || [];
window._kiq = window._kiq || [];
"""
_REPORT: Final = """
// A key of its own for each call: no other page writes it, and a browser that closes writes it down.
const report = (tool, n, id) => localStorage.setItem("given " + Math.random(), JSON.stringify([tool, n, id]));
const takes = {
  // Google's two have one queue: messages are Tag Manager's, lists of arguments gtag's.
  dataLayer: (given) => given.eventId ? report("dataLayer", given.n, given.eventId)
    : given[0] === "event" && report("gtag", given[2].n, given[2].event_id),
  optimizely: ({tags}) => report("optimizely", tags.n),
  _kiq: ([command, properties]) => command === "set" && report("_kiq", properties.n),
  fbq: ([method, name, data, more]) => /^track/.test(method) && report("fbq", data.n, more.eventID),
  analytics: ([method, name, data, options]) => method === "track" && report("analytics", data.n, options.messageId),
};
const watch = (queue, take) => {
  const push = queue.push;
  queue.push = function (...given) {
    given.forEach(take);
    return push.apply(queue, given);
  };
};
"""
_AS_QUEUED: Final = """
for (const name of ["dataLayer", "optimizely", "_kiq", "analytics"]) watch(window[name], takes[name]);
watch(fbq.queue, takes.fbq);
"""
# The pixel's script answers by callMethod, Segment's puts another object in the place of its queue; so do the others'.
_AS_LOADED: Final = """
watch(window.dataLayer, takes.dataLayer);
fbq.callMethod = (...given) => takes.fbq(given);
window.analytics = {initialized: true, track: (...given) => takes.analytics(["track", ...given])};
for (const name of ["optimizely", "_kiq"]) window[name] = {push: takes[name]};
"""

#: Takes the calls out of localStorage, as ``[[key, [tool, number, id]], …]``. One may come again under its key.
READ_CALLS: Final = """
return Object.keys(localStorage).filter((key) => key.startsWith("given ")).map((key) => {
  const call = JSON.parse(localStorage.getItem(key));
  localStorage.removeItem(key);
  return [key, call];
});
"""


def missing() -> list[str]:
    """The packages that are not there; `make peers` fetches them."""
    return [str(file.relative_to(_PACKAGES).parents[1]) for file in _FILES if not file.exists()]


def script_elements(*, as_loaded: bool) -> str:
    """The elements of a page's head, with all six tools in it."""
    packages = json.dumps([file.read_text() for file in _FILES]).replace("</", "<\\/")
    text = _LOADER.replace("PACKAGES", packages) + _REPORT + (_AS_LOADED if as_loaded else _AS_QUEUED)
    return f"<script>{{{text}}}</script>"
