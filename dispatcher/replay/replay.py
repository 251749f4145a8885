"""Replay: read a log, choose, put into the batch store, ring. Interrupted at any moment, it can be run again.

The log's bytes are the journal: a batch is named by where it starts, and the store takes it once.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.edx_log.reader import Complaint, Reading, read_on
from dispatcher.edx_log.source import Source
from dispatcher.errors import DispatcherError, SettingsError, StoreUnavailableError
from dispatcher.event import encode
from dispatcher.replay.checkpoint import Markers
from dispatcher.replay.filter import Choice, Chooser
from dispatcher.replay.pending_batch import Place, Share
from dispatcher.replay.throttle import Pace
from dispatcher.store import doorbell
from dispatcher.store.batches import BatchStore
from dispatcher.store.celery_producer import make_producer

if TYPE_CHECKING:
    from dispatcher.config import Settings
    from dispatcher.event import Event

T = TypeVar("T")

logger = logging.getLogger(__name__)

# Bytes of a log after which its position is written down although nothing of it was chosen.
_STRIDE_BYTES: Final = 8 << 20
# Lines between two looks of the caller, who draws the progress.
_LOOK_LINES: Final = 500
# Seconds that one call to Redis may take.
_TIMEOUT_SECONDS: Final = 5.0
# Seconds between two looks whether Redis is back, or whether there is room for more.
_PAUSE_SECONDS: Final = 0.5


class ReplayError(DispatcherError):
    """The log cannot be replayed on from where it was; says what to do."""


@dataclass(slots=True)
class Tally:
    """What a replay has done so far, over all of its logs.

    Args:
        lines: Read.
        chosen: Events that are meant.
        put: Those of them that are in the batch store.
        unreadable: Lines that are no events.
        earlier_bytes: Of logs, that an earlier run has put.
        by_name: The chosen ones.
    """

    lines: int = 0
    chosen: int = 0
    put: int = 0
    unreadable: int = 0
    earlier_bytes: int = 0
    by_name: Counter[str] = field(default_factory=Counter)


class Replay:
    """Replays logs to one destination. One thread at a time.

    Args:
        settings: With the destination and its allowlist.
        destination: Where to.
        choice: Which events.
        rate: Events a second.
        most_waiting: While more events than these wait for the destination, no more are put.
        run: A name; under another one, what an earlier run has put is put again.
        patience_seconds: For how long Redis may be away.

    Raises:
        SettingsError: There is no such destination, or it takes no replay.
    """

    def __init__(
        self,
        settings: Settings,
        destination: str,
        choice: Choice,
        *,
        rate: float = 1000.0,
        most_waiting: int = 100_000,
        run: str = "",
        patience_seconds: float = 60.0,
    ) -> None:
        _check(settings, destination)
        self._destination = destination
        self._chooser = Chooser(settings, destination, choice)
        self._salt = f"{self._chooser.fingerprint}\n{run}\n".encode()
        self._pace = Pace(rate)
        self._most_events = self._pace.portion(settings.destinations[destination].batch_events)
        self._most_bytes = settings.destinations[destination].batch_bytes
        self._most_waiting = most_waiting
        self._patience = patience_seconds
        self._pool = RedisPool(settings.store, timeout_seconds=_TIMEOUT_SECONDS)
        self._store = BatchStore(self._pool)
        self._markers = Markers(self._pool, destination)
        self._celery = make_producer(settings)
        self.tally: Final = Tally()

    def close(self) -> None:
        """Let go of the connections."""
        self._pool.close()

    def count(self, source: Source) -> Iterator[Complaint | None]:
        """Count in ``tally`` what ``run`` would put of a log that was never replayed. Asks nobody.

        Yields as ``run`` does, and raises OSError.
        """
        with source:
            for reading in read_on(source):
                self._choose(reading)
                if reading.complaint is not None or self.tally.lines % _LOOK_LINES == 0:
                    yield reading.complaint

    def run(self, source: Source) -> Iterator[Complaint | None]:
        """Put the chosen events of a log. Yields what could not be read, and None now and then.

        Blocks as ``rate`` asks for, and while Redis is away; while too many events wait, it yields None.

        Raises:
            StoreUnavailableError: Redis was away for too long. Run it again; it goes on where it was.
            ReplayError: The same; or it is not the log that an earlier run has read.
            OSError: The log cannot be opened.
        """
        with source:
            place = self._find_place(source)
            share = Share(place.start)
            for reading in read_on(source):
                event = self._choose(reading)
                if reading.complaint is not None or self.tally.lines % _LOOK_LINES == 0:
                    yield reading.complaint
                if reading.line is None or reading.is_unfinished:
                    # What is not whole yet, or cannot be read today, is left for another run.
                    break
                payload = None if event is None else encode(event)
                if not share.has_room_for(payload, self._most_bytes):
                    yield from self._put(share, place)
                share.add(reading.line, payload, "" if event is None else event.name)
                if len(share.payloads) >= self._most_events or share.end - share.start >= _STRIDE_BYTES:
                    yield from self._put(share, place)
            if share.end > share.start:
                yield from self._put(share, place)

    def _choose(self, reading: Reading) -> Event | None:
        """The event of a line, where it is meant; and count it."""
        tally = self.tally
        tally.lines += reading.line is not None
        tally.unreadable += reading.complaint is not None
        if reading.event is None or reading.event not in self._chooser:
            return None
        tally.chosen += 1
        tally.by_name[reading.event.name] += 1
        return reading.event

    def _find_place(self, source: Source) -> Place:
        """Where to go on in a log.

        It is known by its first line, which stays the same when the log grows, is renamed, or is compressed.
        """
        identity = hashlib.sha256(self._salt + source.first_line().rstrip(b"\r\n")).hexdigest()[:16]
        marker = self._patiently(lambda: self._markers.find(identity))
        journal = marker.journal(identity)
        progress = self._patiently(lambda: self._store.progress([self._destination], journal))
        place = Place(identity, marker, progress[self._destination].put)
        if not self._go_to(source, place):
            raise ReplayError(
                f"{source.name} begins like a log that was replayed to {self._destination} before, but does not hold "
                f"what that had before byte {max(place.start, marker.position):,}: with --run and a name of your own "
                "it is read from its beginning"
            )
        self.tally.earlier_bytes += place.start
        return place

    @staticmethod
    def _go_to(source: Source, place: Place) -> bool:
        # The store may be one batch ahead of the marker, and behind it where Redis has lost its latest changes.
        marker = place.marker
        if marker.position <= place.start and not source.go_to(marker.position, number=marker.number, tail=marker.tail):
            return False
        return source.skip_to(place.start)

    def _put(self, share: Share, place: Place) -> Iterator[None]:
        while share.payloads and self._waiting() > self._most_waiting:
            yield None
            time.sleep(_PAUSE_SECONDS)
        self._pace.wait(len(share.payloads))
        put = share.put(self._destination, place)
        ring = doorbell.Ring(destination=put.destination, batch_id=put.batch_id, count=put.count, example=share.example)
        rings = [ring] if share.payloads else []
        more = doorbell.commands(rings) if self._celery is None else []
        (refused,) = self._patiently(lambda: self._store.put([put], *more))
        if refused is not None:
            raise ReplayError(
                "the batch store is not where this replay has left it: Redis has lost its latest changes, or somebody "
                "replays the same log. Run it again, and it goes on from there"
            )
        self._ring(rings)
        share.settle(place)
        self._patiently(lambda: self._markers.move(place.identity, place.marker))
        self.tally.put += put.count
        share.clear()
        yield None

    def _ring(self, rings: list[doorbell.Ring]) -> None:
        if self._celery is None or not rings:
            return
        try:
            doorbell.send(self._celery, rings)
        except Exception as error:  # whatever the broker's client raises: the workers' bells ring for it
            logger.warning("the broker did not take a doorbell; the workers' bell will ring it: %s", error)

    def _waiting(self) -> int:
        return self._patiently(lambda: self._store.counts([self._destination]))[self._destination].waiting

    def _patiently(self, ask: Callable[[], T]) -> T:
        """Ask again while Redis is away: everything asked here may be asked twice."""
        deadline = time.monotonic() + self._patience
        while True:
            try:
                return ask()
            except StoreUnavailableError:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(_PAUSE_SECONDS)


def _check(settings: Settings, destination: str) -> None:
    table = settings.destinations.get(destination)
    if table is None or not table.enabled:
        known = ", ".join(settings.served_destinations)
        raise SettingsError([f"there is no destination {destination!r}; the enabled ones are {known}"])
    if table.traits.no_replay is not None:
        raise SettingsError([f"{destination} {table.traits.no_replay}"])
