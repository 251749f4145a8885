"""Replay: read a log, filter, put into the batch store, ring. Interrupted at any moment, it can be run again.

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
from dispatcher.edx_log.parse import is_derived
from dispatcher.edx_log.reader import LineError, ParsedLine, parse_lines
from dispatcher.edx_log.source import Source
from dispatcher.errors import DispatcherError, SettingsError, StoreUnavailableError
from dispatcher.event import encode
from dispatcher.replay.checkpoint import Checkpoints
from dispatcher.replay.filter import Filter, Matcher
from dispatcher.replay.pending_batch import LogProgress, PendingBatch
from dispatcher.replay.throttle import Throttle
from dispatcher.store import doorbell
from dispatcher.store.batches import BatchStore
from dispatcher.store.celery_producer import make_producer

if TYPE_CHECKING:
    from dispatcher.config import Settings
    from dispatcher.event import Event

T = TypeVar("T")

logger = logging.getLogger(__name__)

# Bytes of a log after which a checkpoint is saved although the filter took no event of them.
_CHECKPOINT_BYTES: Final = 8 << 20
# Lines after which the caller gets the control back, to draw the progress.
_PROGRESS_LINES: Final = 500
# Seconds that one call to Redis may take.
_TIMEOUT_SECONDS: Final = 5.0
# Seconds between two tries while Redis is away, or while too many events wait.
_PAUSE_SECONDS: Final = 0.5


class ReplayError(DispatcherError):
    """The log cannot be replayed on from where it was; says what to do."""


@dataclass(slots=True)
class ReplayTotals:
    """What a replay has done so far, over all of its logs.

    Args:
        lines: Lines that were read.
        chosen: Events that the filter takes.
        put: Those of them that are in the batch store.
        without_ids: Chosen events whose lines do not hold their ids, so that each got a new one.
        forgotten: Events of people who were forgotten, and that the filter takes but for that.
        too_old: Events that are older than the destination's vendor takes, and that the filter takes but for that.
        unreadable: Lines without a readable event.
        earlier_bytes: Bytes of the logs that an earlier run has put.
        by_name: The chosen events by name.
    """

    lines: int = 0
    chosen: int = 0
    put: int = 0
    without_ids: int = 0
    forgotten: int = 0
    too_old: int = 0
    unreadable: int = 0
    earlier_bytes: int = 0
    by_name: Counter[str] = field(default_factory=Counter)


class Replay:
    """Replays logs to one destination. One thread at a time.

    Args:
        settings: With the destination and its allowlist.
        destination: The name of the destination.
        filter: Takes the events that are replayed.
        rate: Events a second.
        max_waiting: While more events than these wait for the destination, no more are put.
        run: A name; under another one, what an earlier run has put is put again.
        max_wait_seconds: For how long Redis may be away.
        confirm_new_ids: Called by ``run`` with the place of the first chosen event whose line does not hold its id,
            before that event is put. What it raises ends the run.

    Raises:
        SettingsError: The destination does not exist, is disabled, or takes no replay.
    """

    def __init__(
        self,
        settings: Settings,
        destination: str,
        filter: Filter,
        *,
        rate: float = 1000.0,
        max_waiting: int = 100_000,
        run: str = "",
        max_wait_seconds: float = 60.0,
        confirm_new_ids: Callable[[str], None] | None = None,
    ) -> None:
        _check(settings, destination)
        self._destination = destination
        self._matcher = Matcher(settings, destination, filter)
        self._salt = f"{self._matcher.fingerprint}\n{run}\n".encode()
        self._throttle = Throttle(rate)
        self._max_events = self._throttle.batch_size(settings.destinations[destination].batch_events)
        self._max_bytes = settings.destinations[destination].batch_bytes
        self._max_waiting = max_waiting
        self._max_wait = max_wait_seconds
        self._confirm_new_ids = confirm_new_ids
        self._pool = RedisPool(settings.store, timeout_seconds=_TIMEOUT_SECONDS)
        self._store = BatchStore(self._pool)
        self._checkpoints = Checkpoints(self._pool, destination)
        self._celery = make_producer(settings)
        self.totals: Final = ReplayTotals()

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    def count(self, source: Source) -> Iterator[LineError | None]:
        """Count in ``totals`` what ``run`` would put of a log that was never replayed. Needs no Redis.

        Yields as ``run`` does, and raises OSError.
        """
        with source:
            for parsed in parse_lines(source):
                self._filter(parsed)
                if parsed.error is not None or self.totals.lines % _PROGRESS_LINES == 0:
                    yield parsed.error

    def run(self, source: Source) -> Iterator[LineError | None]:
        """Put the events of a log that the filter takes. Yields the error of each unreadable line, and None at times.

        Blocks as ``rate`` asks for, and while Redis is away; while too many events wait, it yields None.

        Raises:
            StoreUnavailableError: Redis was away for too long. Run it again; it goes on where it was.
            ReplayError: The store is not where this run has left it, or the log is not the one that an earlier run
                has read.
            OSError: The log cannot be opened.
        """
        with source:
            progress = self._find_progress(source)
            batch = PendingBatch(progress.start)
            for parsed in parse_lines(source):
                event = self._filter(parsed)
                if parsed.error is not None or self.totals.lines % _PROGRESS_LINES == 0:
                    yield parsed.error
                if parsed.line is None or parsed.is_unfinished:
                    # A line that is half written, or cannot be read today, is left for another run.
                    break
                if self.totals.without_ids and self._confirm_new_ids is not None:
                    self._confirm_new_ids(f"{source.name}:{parsed.line.number}")
                    self._confirm_new_ids = None
                payload = None if event is None else encode(event)
                if not batch.has_room_for(payload, self._max_bytes):
                    yield from self._put(batch, progress)
                batch.add(parsed.line, payload, "" if event is None else event.name)
                if len(batch.payloads) >= self._max_events or batch.end - batch.start >= _CHECKPOINT_BYTES:
                    yield from self._put(batch, progress)
            if batch.end > batch.start:
                yield from self._put(batch, progress)

    def _filter(self, parsed: ParsedLine) -> Event | None:
        """Count a line. Returns its event where the filter takes it."""
        totals = self.totals
        totals.lines += parsed.line is not None
        totals.unreadable += parsed.error is not None
        if parsed.event is None or not self._matcher.matches(parsed.event):
            return None
        if self._matcher.is_forgotten(parsed.event):
            totals.forgotten += 1
            return None
        if self._matcher.is_too_old(parsed.event):
            totals.too_old += 1
            return None
        totals.chosen += 1
        totals.without_ids += is_derived(parsed.event.id)
        totals.by_name[parsed.event.name] += 1
        return parsed.event

    def _find_progress(self, source: Source) -> LogProgress:
        """Find out how far a log was replayed, and go there.

        It is known by its first line, which stays the same when the log grows, is renamed, or is compressed.
        """
        identity = hashlib.sha256(self._salt + source.first_line().rstrip(b"\r\n")).hexdigest()[:16]
        checkpoint = self._retry(lambda: self._checkpoints.load(identity))
        journal = checkpoint.journal(identity)
        answer = self._retry(lambda: self._store.progress([self._destination], journal))
        progress = LogProgress(identity, checkpoint, answer[self._destination].put)
        # The store may be one batch ahead of the checkpoint, and behind it where Redis has lost its latest changes.
        is_same = checkpoint.position > progress.start or source.go_to(
            checkpoint.position, number=checkpoint.number, tail=checkpoint.tail
        )
        if not is_same or not source.skip_to(progress.start):
            raise ReplayError(
                f"{source.name} begins like a log that was replayed to {self._destination} before, but does not hold "
                f"what that had before byte {max(progress.start, checkpoint.position):,}: with --run and a name of "
                "your own it is read from its beginning"
            )
        self.totals.earlier_bytes += progress.start
        return progress

    def _put(self, batch: PendingBatch, progress: LogProgress) -> Iterator[None]:
        name = self._destination
        while batch.payloads and self._retry(lambda: self._store.counts([name]))[name].waiting > self._max_waiting:
            yield None
            time.sleep(_PAUSE_SECONDS)
        self._throttle.wait(len(batch.payloads))
        put = batch.to_put(self._destination, progress)
        (refused,), rings = self._retry(lambda: self._store.put_and_ring([put], here=self._celery is None))
        if refused is not None:
            raise ReplayError(
                "the batch store is not where this replay has left it: Redis has lost its latest changes, or somebody "
                "replays the same log. Run it again, and it goes on from there"
            )
        self._ring(rings)
        batch.advance(progress)
        self._retry(lambda: self._checkpoints.save(progress.identity, progress.checkpoint))
        self.totals.put += put.count
        batch.clear()
        yield None

    def _ring(self, rings: list[doorbell.Ring]) -> None:
        if self._celery is None or not rings:
            return
        try:
            doorbell.send(self._celery, rings)
        except Exception as error:  # whatever the broker's client raises: the workers' bells ring for it
            logger.warning("the broker did not take a doorbell; the workers' bell will ring it: %s", error)

    def _retry(self, ask: Callable[[], T]) -> T:
        """Ask again while Redis is away: everything asked here may be asked twice."""
        deadline = time.monotonic() + self._max_wait
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
        raise SettingsError([f"unknown destination {destination!r}; the enabled ones are {known}"])
    if table.traits.no_replay is not None:
        raise SettingsError([f"{destination} {table.traits.no_replay}"])
