"""Target: where clicks arrive. For ours the real collector, worker and log; for a peer a sink with its protocol."""

from __future__ import annotations

import json
import re
import signal
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tests.edge.client import KEY, Client
from tests.support.collector import Collector
from tests.support.faulty_proxy import FaultyProxy
from tests.support.redis_server import RedisServer
from tests.support.site import Site, open_site
from tests.support.waiting import wait_for

#: The name of a click: cell, repetition, number.
_CLICK: Final = re.compile(r"edge\.[a-z_]+\.\d+\.\d+")


class Target:
    """The server behind the pages of a client, and the count of what arrived."""

    def __init__(self, proxy: FaultyProxy) -> None:
        self.proxy: Final = proxy

    def arrived(self) -> Counter[str]:
        """How often each click was taken, by its name."""
        raise NotImplementedError

    def kill(self) -> None:
        """End the server with -9; for a sink: refuse everything."""
        self.proxy.down = True

    def start(self) -> None:
        """Start it again, with its data."""
        self.proxy.down = False


class OurTarget(Target):
    """``dispatcher collector`` behind a proxy, a worker, and the tracking log."""

    def __init__(self, site: Site, collector: Collector, proxy: FaultyProxy) -> None:
        super().__init__(proxy)
        self._site = site
        self._collector = collector

    def arrived(self) -> Counter[str]:
        log = self._site.log
        lines = log.read_text().splitlines() if log.exists() else []
        return Counter(name for line in lines for name in set(_CLICK.findall(line)))

    def kill(self) -> None:
        self._collector.child.send(signal.SIGKILL)
        self._collector.child.wait()

    def start(self) -> None:
        port = str(self._collector.port)
        self._collector = Collector(self._site.processes, self._site.directory / "state", "--port", port)


class Sink(FaultyProxy):
    """Answers a peer's requests as its real server would, and counts each id once, as that would. Safe in threads."""

    def __init__(self, client: Client, files: Mapping[str, tuple[str, bytes]]) -> None:
        super().__init__(0, files=files, faults=0, seed=1)
        self._client = client
        self._guard = threading.Lock()
        self._ids: defaultdict[str, set[str]] = defaultdict(set)
        #: Requests that are in no known form, by path.
        self.unknown: Final[Counter[str]] = Counter()

    def forward(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        path = urlsplit(target).path
        given = {name.lower(): value for name, value in headers.items()}
        answer = {"access-control-allow-origin": given.get("origin", "*"), "vary": "Origin"}
        answer["access-control-allow-credentials"] = "true"
        if method == "OPTIONS":
            answer["access-control-allow-headers"] = given.get("access-control-request-headers", "")
            answer["access-control-allow-methods"] = "GET, POST, OPTIONS"
            return 204, answer, b""
        if method == "POST":
            self._count(path, target, given, body)
        text = next((text for start, text in self._client.answers if path.startswith(start)), "{}")
        answer["content-type"] = "application/json"
        return 200, answer, text.replace("HOST", given.get("host", "")).encode()

    def _count(self, path: str, target: str, headers: Mapping[str, str], body: bytes) -> None:
        try:
            sent = list(self._client.parse(target, headers, body))
        except (ValueError, KeyError, OSError):
            with self._guard:
                self.unknown[path] += 1
            return
        with self._guard:
            for event_id, text in sent:
                for name in set(_CLICK.findall(text)):
                    ids = self._ids[name]
                    # Without ids each copy counts.
                    ids.add(event_id if event_id is not None else str(len(ids)))

    def counts(self) -> Counter[str]:
        """How many different events there were of each click."""
        with self._guard:
            return Counter({name: len(ids) for name, ids in self._ids.items()})


class PeerTarget(Target):
    """A sink as a target."""

    def __init__(self, sink: Sink) -> None:
        super().__init__(sink)
        self._sink = sink

    def arrived(self) -> Counter[str]:
        return self._sink.counts()


@contextmanager
def open_target(client: Client, directory: Path) -> Iterator[Target]:
    """Everything behind a client's pages. Ends what it started.

    Args:
        client: Whose pages they are.
        directory: For all files.
    """
    files: dict[str, tuple[str, bytes]] = {}
    if client.package:
        with Sink(client, files) as sink:
            files |= client.pages(other_origin(sink))
            yield PeerTarget(sink)
        return
    with RedisServer() as redis, open_site(directory, redis) as site:
        site.environ["DISPATCHER_SOURCES"] = json.dumps({"web": {"write_key": KEY}})
        collector = Collector(site.processes, directory / "state")
        site.worker()
        with FaultyProxy(collector.port, files=files, faults=0, seed=1) as proxy:
            files |= client.pages(other_origin(proxy))
            yield OurTarget(site, collector, proxy)
            wait_for(lambda: site.ledger().waiting == 0, what="nothing to wait any more")
            site.assert_ledger_closes()


def origin_of(proxy: FaultyProxy, host: str) -> str:
    """An origin of its own, so storage of its own. Browsers resolve all names below localhost to this machine."""
    return f"http://{host}.localhost:{proxy.url.rpartition(':')[2]}"


def other_origin(proxy: FaultyProxy) -> str:
    """The origin that events go to where it is not the page's own."""
    return origin_of(proxy, "events")
