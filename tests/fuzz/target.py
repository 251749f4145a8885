"""Target: the server that is attacked, with all that is behind it; and what must be true of it at the end."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.request import urlopen

from tests.fuzz.attack import Attack, Seed
from tests.fuzz.good_client import EVENT, GoodClient
from tests.fuzz.seeds import CALL, SECRET, SERVER_KEY, TAGS, VISITOR_SECRET, WEB_KEY, collector_seeds
from tests.fuzz.sender import Result
from tests.support.collector import Collector
from tests.support.processes import Child, memory_bytes
from tests.support.redis_server import RedisServer
from tests.support.site import Site, open_site

#: What a process says when something broke that should not.
BROKEN: Final = re.compile(r"Traceback|a route failed|could not be answered|ERROR|CRITICAL")


class Target(Protocol):
    """A server under attack. ``findings`` is called once, at the end."""

    port: int
    seeds: Sequence[Seed]
    description: Mapping[str, Any]
    #: Of each request that is made by the description, so that it is let in.
    headers: Sequence[str]
    #: Whether it is attacked with what is HTTP only in part, too.
    has_raw: bool

    def memory_bytes(self) -> int:
        """Of the process that answers. Raises AssertionError where it has ended."""
        ...

    def notes(self) -> list[str]:
        """What a reader wants to know beside the findings."""
        ...

    def leaks(self, attack: Attack, result: Result) -> Iterator[str]:
        """What an answer shows that it must not. Called from several threads."""
        ...

    def findings(self, unharmed: set[str]) -> Iterator[str]:
        """End the good client, wait until everything has arrived, and say what is wrong.

        Args:
            unharmed: The keys of good events within attacks that were acknowledged.
        """
        ...


class CollectorTarget:
    """``dispatcher collector`` with relay, worker and log, to which a good client sends. Its address is ``port``."""

    has_raw: Final = True

    def __init__(self, site: Site) -> None:
        self._site = site
        # What waits for a page that asks no more is dead soon, so that all is settled at the end.
        table = f"[destinations.{TAGS}]\ntype = 'google_tag_manager_web'\nevents = ['*']\nhandover_hours = 0.001\n"
        site.allow(["*"], more=table)
        sources = {"web": {"write_key": WEB_KEY}, "server": {"write_key": SERVER_KEY, "kind": "server"}}
        destinations = {f"DISPATCHER_DESTINATIONS__{name}__LEASE_SECONDS": "60" for name in ("TRACKING_LOG", "SEGMENT")}
        site.environ |= destinations | {
            "DISPATCHER_SOURCES": json.dumps(sources),
            "DISPATCHER_RELAY__MODE": "external",
            "DISPATCHER_COLLECTOR__MOBILE_SECRET": SECRET,
            "DISPATCHER_COLLECTOR__SECRET": VISITOR_SECRET,
            # Slow clients are cut off soon; but a busy machine may be slow too.
            "DISPATCHER_COLLECTOR__HEADER_SECONDS": "2",
            "DISPATCHER_COLLECTOR__BODY_SECONDS": "2",
            "DISPATCHER_COLLECTOR__KEEP_ALIVE_SECONDS": "3",
            # A request that is given up may have been taken, and is sent again.
            "DISPATCHER_DESTINATIONS__SEGMENT__CONNECT_TIMEOUT_SECONDS": "10",
            "DISPATCHER_DESTINATIONS__SEGMENT__TIMEOUT_SECONDS": "40",
        }
        relay, worker = site.processes.dispatcher("relay"), site.processes.dispatcher("worker")
        self._collector = Collector(site.processes, site.directory / "state")
        worker.wait_for_output(" ready.")
        self._processes: dict[str, Child] = {"collector": self._collector.child, "relay": relay, "worker": worker}
        self.port: Final = self._collector.port
        self.seeds: Final = collector_seeds()
        with urlopen(f"http://127.0.0.1:{self.port}/openapi.json") as answer:
            self.description: Final[dict[str, Any]] = json.load(answer)
        self.headers: Final = (f"Authorization: Basic {b64encode(f'{SERVER_KEY}:'.encode()).decode()}",)
        self._good = GoodClient(self.port, SERVER_KEY)
        self._good.start()

    def memory_bytes(self) -> int:
        return memory_bytes(self._collector.child.pid)

    def leaks(self, attack: Attack, result: Result) -> Iterator[str]:
        yield from ()

    def notes(self) -> list[str]:
        seconds = sorted(self._good.seconds) or [0.0]
        middle, last = seconds[len(seconds) // 2], seconds[-1]
        return [
            f"{len(self._good.acknowledged):,} good events acknowledged, {self._good.retries} retries; "
            f"a request of theirs took {1000 * middle:.0f} ms in the middle, {1000 * last:.0f} ms at most"
        ]

    def findings(self, unharmed: set[str]) -> Iterator[str]:
        self._good.stop()
        yield from self._good.findings
        if not self._good.acknowledged:
            yield "no event of the good client was acknowledged"
        for name, child in self._processes.items():
            if not child.running:
                yield f"the {name} ended with {child.process.returncode}: {child.output[-300:]!r}"
            elif broken := BROKEN.search(child.output):
                place = broken.start()
                yield f"the {name} logged {child.output[place : place + 500]!r}"
        self._site.wait_until_delivered(120)
        for name, counts in self._site.ledger().destinations.items():
            if not counts.closes:
                yield f"the ledger of {name} does not close: {counts}"
        arrived = self._arrived()
        due = self._good.acknowledged | unharmed
        yield from _some([key for key in due if not arrived[key]], "events were acknowledged and did not arrive")
        yield from _some([key for key in due if arrived[key] > 1], "events were acknowledged once and arrived twice")

    def _arrived(self) -> Counter[str]:
        """How often each good event is in the log or at the stand-in for Segment, by its key."""
        found: Counter[str] = Counter()
        for line in _lines(self._site.log):
            if line["name"] == EVENT:
                found[json.loads(line["event"])["k"]] += 1
        for message in _lines(self._site.directory / "segment.jsonl"):
            if message.get("event") == CALL:
                found[message["properties"]["k"]] += 1
        return found


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as lines:
        yield from map(json.loads, lines)


def _some(found: Sequence[str], story: str) -> Iterator[str]:
    if found:
        yield f"{len(found)} {story}, such as {', '.join(sorted(found)[:3])}"


@contextmanager
def open_collector(directory: Path) -> Iterator[Target]:
    """A collector with everything behind it. Ends what it started.

    Args:
        directory: For all files.
    """
    with RedisServer() as redis, open_site(directory, redis) as site:
        yield CollectorTarget(site)
