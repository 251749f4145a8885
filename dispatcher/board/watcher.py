"""Watcher: reads the ledger while somebody looks, and hands the same reading to all who do."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dispatcher.board.history import EVERY_SECONDS, KEPT_SECONDS, History
from dispatcher.board.ledger import ledger_json
from dispatcher.monitoring.rates import Rates

if TYPE_CHECKING:
    from dispatcher.monitoring.snapshot import Observer, Snapshot

logger = logging.getLogger(__name__)

#: Seconds between two readings while somebody looks: four a second, so that a page is less than a third behind.
READING_SECONDS: Final = 0.25
#: How many may look at a time.
MAX_VIEWERS: Final = 50


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of the ledger.

    Args:
        number: Counts up with every reading.
        body: The page's data as JSON.
        snapshot: What it was made of.
        is_new: Whether anything but the time differs from the reading before.
        has_sample: Whether the charts have a new point since.
    """

    number: int
    body: bytes
    snapshot: Snapshot
    is_new: bool = True
    has_sample: bool = False


@dataclass(slots=True)
class _Viewers:
    number: int = 0
    left_at: float = field(default_factory=time.monotonic)


class Watcher:
    """Readings of the ledger: four a second while somebody looks, one in 15 seconds for an hour after that for the
    charts, and none at rest. For the event loop that runs it; the reading itself is done in a thread.

    Args:
        observer: Takes the snapshots; for this watcher alone.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._rates = Rates()
        self._viewers = _Viewers()
        self._called = asyncio.Event()
        self._changed = asyncio.Condition()
        self._latest: Reading | None = None
        # Of Redis' last answer, to be shown while it does not answer.
        self._known: dict[str, Any] = {}
        self._content: object = None
        self.history = History()

    @property
    def latest(self) -> Reading | None:
        """The last reading, of whatever age; None before the first."""
        return self._latest

    @property
    def is_full(self) -> bool:
        """Whether nobody more may look."""
        return self._viewers.number >= MAX_VIEWERS

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Within this somebody looks, so that readings are taken."""
        self._viewers.number += 1
        self._called.set()
        try:
            yield
        finally:
            self._viewers.number -= 1
            self._viewers.left_at = time.monotonic()

    async def after(self, number: int) -> Reading:
        """The next reading behind that of this number. Blocks until there is one."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._latest is not None and self._latest.number > number)
        assert self._latest is not None
        return self._latest

    async def run(self) -> None:
        """Take readings until it is cancelled."""
        number = 0
        while True:
            began = time.monotonic()
            number += 1
            try:
                reading = await asyncio.to_thread(self._read, number)
            except Exception:  # what is wrong with one reading must not end the others
                logger.exception("the ledger cannot be read")
            else:
                async with self._changed:
                    self._latest = reading
                    self._changed.notify_all()
            await self._pause(began)

    async def _pause(self, began: float) -> None:
        """Wait until the next reading is wanted."""
        while True:
            self._called.clear()
            now = time.monotonic()
            if self._viewers.number:
                await asyncio.sleep(max(0.05, READING_SECONDS - (now - began)))
                return
            # The charts go on for as long as what they show is within the hour that they have.
            is_wanted = self._latest is not None and now - self._viewers.left_at < KEPT_SECONDS
            try:
                await asyncio.wait_for(self._called.wait(), EVERY_SECONDS if is_wanted else None)
            except TimeoutError:
                return

    def _read(self, number: int) -> Reading:
        snapshot = self._observer.take_snapshot()
        rates: dict[str, float] = {}
        if not snapshot.problem:
            rates = self._rates.add(snapshot.at, {name: one.delivered for name, one in snapshot.destinations.items()})
        shown = ledger_json(snapshot, rates, self._observer.settings)
        if snapshot.problem:
            # The last answers of Redis, with the outboxes as they are now.
            kept = ("closes", "since_ms", "destinations", "redis", "answered_ms")
            shown |= {name: self._known[name] for name in kept if name in self._known}
        else:
            shown["answered_ms"] = shown["at_ms"]
            self._known = shown
        content = {name: value for name, value in shown.items() if name not in ("at_ms", "answered_ms")}
        is_new, self._content = content != self._content, content
        return Reading(number, msgspec.json.encode(shown), snapshot, is_new, self.history.add(snapshot))
