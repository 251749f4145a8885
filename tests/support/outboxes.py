"""Small outboxes for tests, what a relay would read from them, and trackers that emit into them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from dispatcher import config
from dispatcher.event import Event, decode
from dispatcher.outbox import Outbox, Reader, find_outboxes
from dispatcher.tracker import Tracker

#: Small, so that a test has many files.
JOURNAL_BYTES = 65_536
# Empty reads after which a reader counts as done: it reads more than once what seems damaged.
_TRIES = 5


def make_outbox(root: Path, *, journal_bytes: int = JOURNAL_BYTES, max_bytes: int = 1 << 28) -> Outbox:
    """An outbox that is hardly ever synced, so that only the test changes its files."""
    return Outbox(root, journal_bytes=journal_bytes, max_bytes=max_bytes, sync_seconds=60)


def make_tracker(root: Path, *, strict: bool = False, **outbox: Any) -> Tracker:
    """A tracker with a durable outbox under ``root``, without a relay."""
    settings = config.load(
        {}, {"strict": strict, "relay": {"mode": "external"}, "outbox": {"directory": str(root), **outbox}}
    )
    return Tracker(settings)


def read_on(reader: Reader) -> list[bytes]:
    """All payloads from the reader's position on."""
    found: list[bytes] = []
    empty = 0
    while empty < _TRIES:
        payloads, ends = reader.read()
        assert len(payloads) == len(ends)
        found += payloads
        empty = 0 if payloads else empty + 1
    return found


def read_directory(directory: Path) -> list[bytes]:
    """All payloads that wait in one outbox directory, without committing them."""
    reader = Reader(directory)
    try:
        return read_on(reader)
    finally:
        reader.close()


def read_root(root: Path) -> list[bytes]:
    """All payloads that wait in the outboxes under ``root``, directory by directory."""
    return [payload for directory in find_outboxes(root) for payload in read_directory(directory)]


def events_in(root: Path) -> list[Event]:
    """All events that wait in the outboxes under ``root``."""
    return [decode(payload) for payload in read_root(root)]


def open_files(root: Path) -> list[str]:
    """The files under ``root`` that this process has open, including deleted ones."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            found.append(str(entry.readlink()))
    return sorted(path for path in found if path.startswith(str(root)))
