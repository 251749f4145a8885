"""A site whose pages take events: Redis, relay, worker, collector, and pages with stand-ins of vendors' globals."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

from dispatcher import config
from dispatcher.collector.client import files
from dispatcher.connections.redis_pool import RedisPool
from dispatcher.secrecy.visitor import make_reference
from dispatcher.store.batches import BatchStore
from dispatcher.store.counts import Counts
from dispatcher.tracker.tracker import Tracker
from tests.support.collector import Collector
from tests.support.processes import Processes
from tests.support.redis_server import RedisServer
from tests.support.vendor import Call, Reply, Vendor
from tests.support.waiting import wait_for

SECRET: Final = "0123456789abcdef" * 4
DESTINATIONS: Final = {
    "google_tag_manager_web": {"events": ["shop.*"], "fields": ["order", "cents"]},
    "optimizely_web": {"events": ["shop.paid"]},
    "qualaroo": {"events": ["survey.*"], "consent": ["surveys"]},
}
#: What stands in for the vendors' snippets: each keeps what it was given, over reloads too.
GLOBALS: Final = """<script nonce="n">
for (const name of ["dataLayer", "optimizely", "_kiq"])
  window[name] = {push: (given) =>
    fetch("/given/" + name, {method: "POST", body: JSON.stringify(given), keepalive: true})};
</script>"""

CLASSIC: Final = (
    '<script src="BASE/tracker.js" data-key="web" data-url="BASE/v1/events" data-delay="50" ATTRIBUTES></script>'
)
#: Two bundles that have the module each, of which none knows the other.
MODULES: Final = """<script type="module">
import One from "/tracker.mjs?one";
import Two from "/tracker.mjs?two";
One.init({key: "web", url: "BASE/v1/events", delay: 50});
Object.assign(window, {One, Two});
</script>"""


class HandoverSite(Vendor):
    """Everything runs while it is entered. It serves the pages itself; ``given`` is what the globals got, in order.

    ``/page`` has the globals, ``/bare`` none; ``?visitor=TEXT`` is the reference of the page's user,
    ``?attributes=TEXT`` are more attributes of tracker.js; ``?policy=TEXT`` is its Content-Security-Policy, where BASE
    is the collector. ``/page-of-modules`` has two bundles of tracker.mjs instead, ``One`` and ``Two``. A subclass has
    other destinations, or other globals.
    """

    destinations: Mapping[str, Any] = DESTINATIONS

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.given: list[tuple[str, Any]] = []
        self._directory = directory
        self.redis = RedisServer()
        self.collector: Collector

    def __enter__(self) -> Self:
        super().__enter__()
        self.redis.__enter__()
        state = self._directory / "state"
        self.environ = environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("DISPATCHER_")},
            "PYTHONUNBUFFERED": "1",
            "DISPATCHER_STATE_DIRECTORY": str(state),
            "DISPATCHER_BROKER_URL": self.redis.url,
            "DISPATCHER_SOURCES": json.dumps({"web": {"write_key": "web", "origins": [self.url]}}),
            "DISPATCHER_DESTINATIONS": json.dumps(self.destinations),
            "DISPATCHER_COLLECTOR__SECRET": SECRET,
            "DISPATCHER_RELAY__MODE": "external",
            "DISPATCHER_RELAY__LINGER_SECONDS": "0.01",
            "DISPATCHER_WORKER__BELL_SECONDS": "0.1",
        }
        self.processes = Processes(self._directory / "output", environ)
        self.worker = self.processes.dispatcher("worker", "--concurrency", "1")
        self.relay = self.processes.dispatcher("relay")
        self.collector = Collector(self.processes, state)
        self.worker.wait_for_output(" ready.")
        self.settings = config.load(environ)
        self.tracker = Tracker(self.settings)
        self.pool = RedisPool(self.redis.url, timeout_seconds=30)
        self.store = BatchStore(self.pool)
        return self

    def __exit__(self, *error: Any) -> None:
        self.tracker.close()
        for child in (self.collector.child, self.worker, self.relay):
            child.stop()
        self.pool.close()
        self.redis.__exit__(*error)
        super().__exit__(*error)

    def reference(self, **who: Any) -> str:
        """The reference of a page of this session or user."""
        return make_reference(SECRET.encode(), **who)

    def emit(self, name: str, data: dict[str, Any] | None = None, **context: Any) -> str:
        """Emit on the server, for the session or user of the context."""
        with self.tracker.context("test", context):
            return self.tracker.emit(name, data or {})

    def ask(self, *visitor: str, of: Collector | None = None, **body: Any) -> tuple[int, dict[str, Any]]:
        """What the collector, or another one, answers to a page of these references."""
        text = json.dumps({"key": "web", "visitor": visitor, **body})
        status, _, answer = (of or self.collector).ask("POST", "/v1/handover", text, Origin=self.url)
        return status, json.loads(answer)

    def request(self, *visitor: str, **body: Any) -> bytes:
        """The bytes of what ``ask`` asks."""
        text = json.dumps({"key": "web", "visitor": visitor, **body})
        head = f"POST /v1/handover HTTP/1.1\r\nHost: x\r\nOrigin: {self.url}\r\nContent-Length: {len(text)}\r\n\r\n"
        return f"{head}{text}".encode()

    def counts(self, name: str) -> Counts:
        """The ledger of a destination, whose sum closes."""
        found = self.store.counts([name])[name]
        assert found.closes, found
        return found

    def wait_for_counts(self, name: str, **expected: int) -> None:
        """Wait until these counters of a destination are so much more than at the beginning of the test."""

        def is_so() -> bool:
            found = self.counts(name)
            return all(getattr(found, field) - getattr(self.before[name], field) == n for field, n in expected.items())

        wait_for(is_so, what=lambda: f"{expected} more than {self.before[name]}: {self.counts(name)}")

    def begin(self) -> None:
        """Note the counters, and forget what the globals got."""
        self.before = {name: self.counts(name) for name in self.destinations}
        self.given.clear()

    def globals(self, path: str) -> str:
        """The script elements of the vendors on a page."""
        return GLOBALS if path.startswith("/page") else ""

    def answer(self, call: Call) -> Reply:
        if call.path.startswith("/given/"):
            self.given.append((call.path.removeprefix("/given/"), json.loads(call.content)))
            return Reply(body=b"{}")
        if found := files.find(call.path.removeprefix("/")):
            return Reply(body=found[0].body, headers=found[0].headers(versioned=False))
        base = f"http://127.0.0.1:{self.collector.port}"
        reference = call.query.get("visitor")
        meta = f'<meta name="dispatcher-visitor" content="{reference}">' if reference else ""
        client = MODULES if call.path == "/page-of-modules" else CLASSIC
        text = (
            f"<!doctype html><title>page</title>{meta}{self.globals(call.path)}"
            f'{client.replace("BASE", base)}<script async src="{base}/handover.js"></script>'
            '<a id="next" href="/page-next">Next</a>'
        )
        text = text.replace("ATTRIBUTES", call.query.get("attributes", ""))
        headers = {"content-type": "text/html; charset=utf-8"}
        if policy := call.query.get("policy"):
            headers["content-security-policy"] = policy.replace("BASE", base)
        return Reply(body=text.encode(), headers=headers)
