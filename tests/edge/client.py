"""Client: a library for browsers, the pages that use it as its documentation says, and what it sends."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from dispatcher.collector.client import files

PEERS: Final = Path(__file__).parents[1] / "peers/node_modules"
OURS: Final = "ours"
#: The write key that all of them have.
KEY: Final = "k1"

#: The id of an event, None where the protocol has none, and the text that has the click's name in it.
Sent = tuple[str | None, str]


@dataclass(frozen=True)
class Client:
    """One of them.

    Attributes:
        name: In the command and in the table.
        package: Of npm; empty for ours.
        settings: What is set, in words. Everything else is its default.
        script: Its file, below ``PEERS``.
        head: What stands in the head of a page. ``BASE`` is the address that events go to, without a slash.
        click: The body of ``function click(name)``.
        parse: The events of a request: target, headers, body.
        answers: What its server answers, by the beginning of the path; 200 with ``{}`` for others.
    """

    name: str
    package: str
    settings: str
    script: str
    head: str
    click: str
    parse: Callable[[str, Mapping[str, str], bytes], Iterable[Sent]]
    answers: tuple[tuple[str, str], ...] = ()

    @property
    def installed(self) -> bool:
        return not self.package or (PEERS / self.script).exists()

    @property
    def version(self) -> str:
        """The version of its package that is installed; empty for ours."""
        if not self.package:
            return ""
        return str(json.loads((PEERS / self.package / "package.json").read_bytes())["version"])

    def pages(self, base: str) -> dict[str, tuple[str, bytes]]:
        """Pages and scripts by their path, as ``FaultyProxy`` serves them.

        Args:
            base: Where events go in the pages below /cross; all others send to where they come from.
        """
        found: dict[str, tuple[str, bytes]] = {}
        for path, (where, before) in _PAGES.items():
            head = self.head.replace("BASE", base if where else "' + location.origin + '")
            # In attributes, which have no expressions.
            head = head.replace("ORIGIN", base if where else "")
            text = (
                f"<!doctype html><title>{path}</title>{before}{head}"
                f"<script>function click_(name) {{ {self.click} }}</script>"
                f'<a id="next" href="{path if where else "/next"}?next">Next</a>'
            )
            found[path] = ("text/html; charset=utf-8", text.encode())
        if self.package:
            folder = (PEERS / self.script).parent
            for file in folder.glob("*.js"):
                found[f"/script/{file.name}"] = ("text/javascript; charset=utf-8", file.read_bytes())
        else:
            found["/script/tracker.js"] = ("text/javascript; charset=utf-8", files.served_files()["tracker.js"].body)
        return found


_FULL: Final = (
    "<script>for (let size = 4 << 20; size; size >>= 1)"
    " try { localStorage['other' + size] = 'x'.repeat(size); } catch {}</script>"
)
_FORBIDDEN: Final = (
    "<script>for (const area of ['localStorage', 'sessionStorage', 'indexedDB']) Object.defineProperty(window, area,"
    " {get() { throw new DOMException('Access is denied for this document.', 'SecurityError'); }});</script>"
)
_POLICY: Final = """<meta http-equiv="Content-Security-Policy" content="connect-src 'none'">"""
#: Pages by path: whether their events go to another origin, and what is in their heads before anything else.
_PAGES: Final = {
    "/page": (False, ""),
    "/next": (False, ""),
    "/cross": (True, ""),
    "/full": (False, _FULL),
    "/forbidden": (False, _FORBIDDEN),
    "/policy": (False, _POLICY),
}


def _walk(value: Any) -> Iterable[Mapping[str, Any]]:
    """All objects in a JSON value, outermost first."""
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _walk(item)


def _by_id(field: str) -> Callable[[str, Mapping[str, str], bytes], Iterable[Sent]]:
    """Events are the objects with this field, wherever they are in a JSON body."""

    def parse(_target: str, _headers: Mapping[str, str], body: bytes) -> Iterable[Sent]:
        for item in _walk(json.loads(body)):
            if isinstance(item.get(field), str):
                yield item[field], json.dumps(item)

    return parse


def _posthog(target: str, headers: Mapping[str, str], body: bytes) -> Iterable[Sent]:
    """Its bodies are gzip where the query says so, or a form with base64 in ``data``."""
    if parse_qs(urlsplit(target).query).get("compression") == ["gzip-js"] or body[:2] == b"\x1f\x8b":
        body = gzip.decompress(body)
    if body.startswith(b"data="):
        body = base64.b64decode(parse_qs(body.decode())["data"][0])
    return _by_id("uuid")(target, headers, body)


def _no_ids(_target: str, _headers: Mapping[str, str], body: bytes) -> Iterable[Sent]:
    yield None, body.decode()


_SEGMENT_SETTINGS: Final = json.dumps(
    {"integrations": {"Segment.io": {"apiKey": KEY, "apiHost": "HOST/v1", "protocol": "http"}}}
)
CLIENTS: Final[Mapping[str, Client]] = {
    client.name: client
    for client in (
        Client(
            name=OURS,
            package="",
            settings="none",
            script="tracker.js",
            head=f'<script src="/script/tracker.js" data-key="{KEY}" data-url="ORIGIN/v1/events"></script>',
            click="Tracker.emit('page.clicked', {click: name});",
            parse=_no_ids,
        ),
        Client(
            name="analytics-next",
            package="@segment/analytics-next",
            settings="writeKey and cdnURL; apiHost and protocol come with its settings",
            script="@segment/analytics-next/dist/umd/index.js",
            head=(
                '<script src="/script/index.js"></script><script>'
                f"const loaded = AnalyticsNext.AnalyticsBrowser.load({{writeKey: '{KEY}', cdnURL: 'BASE'}});</script>"
            ),
            click="loaded.track('page.clicked', {click: name});",
            parse=_by_id("messageId"),
            answers=(("/v1/projects", _SEGMENT_SETTINGS), ("/v1/", '{"success": true}')),
        ),
        Client(
            name="snowplow",
            package="@snowplow/browser-tracker",
            settings="appId and the collector's address",
            script="@snowplow/browser-tracker/dist/index.umd.min.js",
            head=(
                '<script src="/script/index.umd.min.js"></script><script>'
                "snowplowBrowserTracking.newTracker('sp', 'BASE', {appId: 'edge'});</script>"
            ),
            click="snowplowBrowserTracking.trackStructEvent({category: 'page', action: 'clicked', label: name});",
            parse=_by_id("eid"),
        ),
        Client(
            name="posthog",
            package="posthog-js",
            settings="api_host, defaults 2025-05-24, opt_out_useragent_filter (this browser is a bot to it)",
            script="posthog-js/dist/array.js",
            head=(
                "<script>!function(t,e){window.posthog=e;e._i=[];e.init=function(i,s,a){e._i.push([i,s,a])};e.__SV=1}"
                "(document,window.posthog||[]);"
                "posthog.init('phc_edge', {api_host: 'BASE', defaults: '2025-05-24', opt_out_useragent_filter: true});"
                "</script>"
                '<script src="/script/array.js"></script>'
            ),
            click="posthog.capture('page_clicked', {click: name});",
            parse=_posthog,
            answers=(("/flags", '{"flags": {}, "supportedCompression": ["gzip-js"]}'), ("/e", '{"status": "Ok"}')),
        ),
        Client(
            name="plausible",
            package="@plausible-analytics/tracker",
            settings="domain, endpoint, and captureOnLocalhost, without which it sends nothing from this machine",
            script="@plausible-analytics/tracker/plausible.js",
            head=(
                '<script type="module">import { init, track } from "/script/plausible.js";'
                "init({domain: 'edge.example', endpoint: 'BASE/api/event', captureOnLocalhost: true});"
                "window.track = track;</script>"
            ),
            click="track('page clicked', {props: {click: name}});",
            parse=_no_ids,
            answers=(("/api/event", "ok"),),
        ),
    )
}
