"""Sizes: how many bytes of script a page loads, compressed as the strictest server would: gzip -9."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from dispatcher.collector.client.files import served_files
from tests.edge.client import CLIENTS, OURS, PEERS

_OURS: Final = {
    "tracker.js": "queue, retry, ids, locks, consent, `Tracker`, the Segment calls",
    "logger.js": "`Logger.log` on top of it",
    "mfe.mjs": "the class for micro-frontends, with all that tracker.js has",
    "stub.js": "queues calls until the script is there",
}
#: The file that a vendor serves to pages, where it is not the one that the cells use.
_SERVED: Final = {"analytics-next": "@segment/analytics-next/dist/umd/standalone.js"}


@dataclass(frozen=True)
class Size:
    """A script as it is served.

    Attributes:
        name: Of the file, with its package and version.
        what: What it does, for ours.
        raw: In bytes.
        compressed: In bytes, by ``gzip -9``.
    """

    name: str
    what: str
    raw: int
    compressed: int


def sizes() -> Iterator[Size]:
    """Ours, then those of the peers that are installed."""
    for name, what in _OURS.items():
        body = served_files()[name].body
        yield Size(name, what, len(body), len(gzip.compress(body, 9, mtime=0)))
    for client in CLIENTS.values():
        if client.name == OURS or not client.installed:
            continue
        path = PEERS / _SERVED.get(client.name, client.script)
        body = path.read_bytes()
        name = f"{client.package} {client.version}: {path.name}"
        yield Size(name, "", len(body), len(gzip.compress(body, 9, mtime=0)))
