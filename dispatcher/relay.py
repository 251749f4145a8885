"""Relay: read the journals, route, put into the batch store, ring, and only then move on.

Whatever it is told or not told by the store, it never counts an event as put before the store has said so; putting one
again is harmless, since the store knows how far each journal was put. The journals are kept until their batches are
settled, so that a store that has lost some of them gets these again.
"""

from __future__ import annotations

import logging
import time
from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dispatcher import doorbell
from dispatcher.batches import BatchStore
from dispatcher.config.watch import SettingsWatch
from dispatcher.cutting import BatchLimits, Cutter, Stretch
from dispatcher.errors import OutboxError, OutboxInUseError, StoreUnavailableError
from dispatcher.outbox import Reader, find_outboxes, journals_bytes
from dispatcher.producer import make_producer
from dispatcher.put_record import PutRecord
from dispatcher.redis_pool import RedisPool
from dispatcher.routing import Router

if TYPE_CHECKING:
    from dispatcher.config import Settings

logger = logging.getLogger(__name__)

# Bytes of events that go to the store in one round trip, well within its timeout; and where there is a backlog, which
# is worked off with fewer of the pauses in which a busy thread of the same process takes the interpreter for longer.
_STRETCH_BYTES: Final = 1_000_000
_BACKLOG_STRETCH_BYTES: Final = 4_000_000

# Seconds between two questions to the store as to what is settled: while there is news, and while there is none.
_ASK_SECONDS: Final = 1.0
_ASK_SELDOM_SECONDS: Final = 10.0


class Relay:
    """Relays the outboxes under one root. One thread at a time; not safe after fork.

    Args:
        settings: Where the outboxes and the store are, and the allowlists.
        own: The directory of this process's outbox, which it relays although its writer lives; None in a process
            of its own, which relays every outbox that no other relay has.
        pause: Called between slices of work, to let other threads in.
    """

    def __init__(
        self, settings: Settings, *, own: Path | None = None, pause: Callable[[], None] = lambda: None
    ) -> None:
        self._settings = settings
        self._own = own
        self._pause = pause
        self._pool = RedisPool(settings.store, timeout_seconds=settings.relay.timeout_seconds)
        self._store = BatchStore(self._pool)
        self._celery = make_producer(settings)
        self._cutter = _cutter(settings)
        self._watch = SettingsWatch(settings)
        self._readers: dict[Path, Reader] = {}
        self._records: dict[str, PutRecord] = {}
        # Journals of which the store may know more, or less, than their records.
        self._doubtful: set[str] = set()
        self._asked_at = float("-inf")
        self._ask_seconds = _ASK_SECONDS
        self._looked_at = float("-inf")
        self._stretch_bytes = _STRETCH_BYTES
        #: Whether the last step left something that could have been read: the next one need not wait for more.
        self.is_behind = False

    def step(self) -> int:
        """Relay what there is, up to a megabyte of each outbox. Returns how many events were put.

        Raises:
            StoreUnavailableError: Nothing is lost; call again later.
        """
        was_behind, self.is_behind = self.is_behind, False
        self._stretch_bytes = _BACKLOG_STRETCH_BYTES if was_behind else _STRETCH_BYTES
        self._reload()
        self._look_for_outboxes()
        put = sum(self._relay(reader) for reader in list(self._readers.values()))
        self._let_go_of_what_is_settled()
        return put

    def is_drained(self) -> bool:
        """Whether no outbox holds anything that is not put. Looks at the disk."""
        self._look_for_outboxes(now=True)
        return all(_is_empty(reader) for reader in self._readers.values())

    def close(self) -> None:
        """Let go of the outboxes and connections."""
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()
        self._pool.close()

    def _relay(self, reader: Reader) -> int:
        stretch = self._read(reader)
        if not stretch.puts and stretch.end == reader.state.position:
            self._remove_if_dead(reader)
            return 0
        try:
            self._publish(stretch)
        except BaseException:
            # What of it was put is not known: ask the store before cutting it again.
            self._doubtful.add(reader.name)
            reader.rewind()
            raise
        self._records[reader.name].note(stretch.start, stretch.end, stretch.puts)
        reader.commit(stretch.end)
        self._ask_seconds = _ASK_SECONDS
        self._keep_within_limits()
        return sum(put.count for put in stretch.puts)

    def _read(self, reader: Reader) -> Stretch:
        if (reader.name not in self._records or reader.name in self._doubtful) and not self._learn(reader):
            return self._cutter.begin(reader.name, reader.position)
        record = self._records[reader.name]
        start = reader.position
        before = record.stretch_from(start)
        until, cuts = None, None
        if before is not None:
            # Some of it was lost by the store: it is cut as it was before, one stretch at a time.
            until, cuts = (before.end, before.cuts) if start >= before.start else (before.start, None)
        stretch = self._cutter.begin(reader.name, start, put=record.put, starts=record.starts(start), cuts=cuts)
        size = 0
        while until is not None or size < self._stretch_bytes:
            payloads, ends = reader.read()
            if not payloads:
                break
            if until is not None and ends[-1] >= until:
                taken = bisect_right(ends, until)
                stretch.add(payloads[:taken], ends[:taken])
                reader.seek(until)
                stretch.end = until
                self.is_behind = True
                break
            stretch.add(payloads, ends)
            size += sum(map(len, payloads))
            self._pause()
        else:
            self.is_behind = True
        stretch.finish()
        return stretch

    def _learn(self, reader: Reader) -> bool:
        """Ask the store how far the journal has come. False where there is nothing to ask for."""
        record = self._records.get(reader.name)
        if record is None and reader.state.settled >= reader.state.position and _is_empty(reader):
            # Nothing to cut yet, and nothing can have been put: spare the idle process the connection.
            return False
        position = reader.state.position
        progress = self._store.progress(self._cutter.destinations, reader.name)
        if record is None:
            record = PutRecord(progress, position=position, settled=reader.state.settled)
            self._records[reader.name] = record
        else:
            record.learn(progress, position)
        self._doubtful.discard(reader.name)
        if record.lost_from is None:
            return True
        reader.rewind(record.lost_from)
        record.rewound()
        logger.warning(
            "the batch store has lost what was put from %s: it is put again from position %d on, %d bytes",
            reader.directory,
            reader.state.position,
            position - reader.state.position,
        )
        return True

    def _let_go_of_what_is_settled(self) -> None:
        if time.monotonic() - self._asked_at < self._ask_seconds:
            return
        unsettled = [reader for reader in self._readers.values() if reader.state.settled < reader.state.position]
        if not unsettled:
            return
        self._asked_at = time.monotonic()
        self._ask_seconds = min(2 * self._ask_seconds, _ASK_SELDOM_SECONDS)
        for reader in unsettled:
            if self._learn(reader):
                settled = min(self._records[reader.name].settled_everywhere, reader.state.position)
                if settled > reader.state.settled:
                    self._ask_seconds = _ASK_SECONDS
                    reader.let_go(settled)
        if self._outboxes_are_filling():
            self._let_go_of_all()

    def _keep_within_limits(self) -> None:
        limit = min(self._settings.outbox.keep_bytes, self._settings.outbox.max_bytes // 4)
        if limit == 0:
            self._let_go_of_all()
        elif sum(reader.kept_bytes for reader in self._readers.values()) > limit:
            # Of the newer half it is less likely that a Redis has it on its disk already.
            for reader in self._readers.values():
                reader.let_go(reader.state.position - reader.kept_bytes // 2)

    def _outboxes_are_filling(self) -> bool:
        """Whether what is kept may soon be in the way of what is emitted."""
        return journals_bytes(self._settings.outbox_directory) > self._settings.outbox.max_bytes // 2

    def _let_go_of_all(self) -> None:
        for reader in self._readers.values():
            reader.let_go(reader.state.position)

    def _publish(self, stretch: Stretch) -> None:
        if not stretch.puts:
            return
        more = doorbell.commands(stretch.rings) if self._celery is None else []
        # A share that the store has in part was cut from stale positions: it takes the next turn to cut it anew.
        if any(position is not None for position in self._store.put(stretch.puts, *more)):
            raise StoreUnavailableError("the store has part of what was put already; cutting it again")
        if self._celery is not None:
            self._ring(stretch)

    def _ring(self, stretch: Stretch) -> None:
        assert self._celery is not None
        try:
            doorbell.send(self._celery, stretch.rings)
        except Exception as error:
            # The events are in the store, and the workers' bells ring for what was not rung for.
            logger.warning("the broker did not take a doorbell; the workers' bell will ring it: %s", error)

    def _look_for_outboxes(self, *, now: bool = False) -> None:
        # Its own may be held for a moment by another process that sees whether its writer is dead.
        is_at_home = self._own is not None and self._own in self._readers
        every = self._settings.relay.adopt_seconds if is_at_home else self._settings.relay.linger_seconds
        if not now and time.monotonic() - self._looked_at < every:
            return
        self._looked_at = time.monotonic()
        for directory in find_outboxes(self._settings.outbox_directory):
            if directory not in self._readers:
                self._take(directory)

    def _take(self, directory: Path) -> None:
        try:
            reader = Reader(directory)
        except OutboxInUseError:
            return
        except FileNotFoundError:
            return  # removed in the meantime
        except (OutboxError, OSError) as error:
            logger.error("the outbox %s cannot be read: %s", directory, error)
            return
        if self._own is not None and directory != self._own and not reader.writer_is_dead:
            reader.close()  # its own process relays it
            return
        if directory != self._own and reader.writer_is_dead:
            logger.info("relaying the outbox %s, whose process %d is gone", directory, reader.state.pid)
        self._readers[directory] = reader

    def _remove_if_dead(self, reader: Reader) -> None:
        if reader.directory == self._own or reader.state.settled < reader.state.position:
            return
        if not reader.writer_is_dead or not _is_empty(reader):
            return
        del self._readers[reader.directory]
        self._records.pop(reader.name, None)
        try:
            reader.remove()
        except FileNotFoundError:
            pass  # its process was not dead but about to end, and has removed it itself
        except OSError as error:
            logger.warning("the empty outbox %s cannot be removed: %s", reader.directory, error)
        reader.close()

    def _reload(self) -> None:
        settings = self._watch.changed()
        if settings is not None:
            self._settings = settings
            self._cutter = _cutter(settings)
            # There may be new destinations, of which the records know nothing.
            self._doubtful.update(self._records)
            for reader in self._readers.values():
                reader.rewind()


def _is_empty(reader: Reader) -> bool:
    payloads, _ = reader.read()
    reader.rewind()
    return not payloads


def _cutter(settings: Settings) -> Cutter:
    limits = {
        name: BatchLimits(destination.batch_events, destination.batch_bytes)
        for name, destination in settings.destinations.items()
        if destination.is_served
    }
    return Cutter(Router(settings), limits)
