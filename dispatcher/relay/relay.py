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
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dispatcher.config.watch import SettingsWatch
from dispatcher.connections.redis_pool import RedisPool
from dispatcher.errors import OutboxError, OutboxInUseError, StoreUnavailableError
from dispatcher.outbox import Reader, find_outboxes, journals_bytes
from dispatcher.outbox.stats import survey
from dispatcher.relay.adoption import MAX_OPEN, Adoption
from dispatcher.relay.batching import BatchLimits, Cutter, Stretch
from dispatcher.relay.put_log import PutLog
from dispatcher.relay.put_record import PutRecord
from dispatcher.routing import Router
from dispatcher.store import doorbell
from dispatcher.store.batches import BatchStore, Put
from dispatcher.store.celery_producer import make_producer

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
# Seconds between two log lines about an outbox that cannot be read.
_COMPLAIN_SECONDS: Final = 60.0


class Relay:
    """Relays the outboxes under one root. One thread at a time; not safe after fork.

    Args:
        settings: Where the outboxes and the store are, and the allowlists.
        own: The directory of this process's outbox, which it relays although its writer lives; None in a process
            of its own, which relays every outbox that no other relay has.
        pause: Called between slices of work, to let other threads in.
        store: Used instead of the settings' own.
        clock: Gives seconds that never go back.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        own: Path | None = None,
        pause: Callable[[], None] = lambda: None,
        store: BatchStore | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._own = own
        self._pause = pause
        self._clock = clock
        self._pool = RedisPool(settings.store, timeout_seconds=settings.relay.timeout_seconds)
        self._store = BatchStore(self._pool) if store is None else store
        self._celery = make_producer(settings)
        self._cutter = _cutter(settings)
        self._watch = SettingsWatch(settings)
        self._adoption = Adoption(settings.outbox_directory, clock=clock)
        self._readers: dict[Path, Reader] = {}
        self._records: dict[str, PutRecord] = {}
        self._logs: dict[str, PutLog] = {}
        # Journals of which the store may know more, or less, than their records.
        self._doubtful: set[str] = set()
        self._asked_at = float("-inf")
        self._ask_seconds = _ASK_SECONDS
        self._looked_at = float("-inf")
        self._tidied_at = float("-inf")
        self._stretch_bytes = _STRETCH_BYTES
        self._complained_at: dict[Path, float] = {}
        # Whether what is kept of the dead is in the way of what is emitted.
        self._is_filling = False
        #: Whether the last step left something that could have been read: the next one need not wait for more.
        self.is_behind = False

    def step(self) -> int:
        """Relay what there is, up to a megabyte of each outbox. Returns how many events were put.

        An outbox that cannot be read is said in the log, and keeps no other waiting.

        Raises:
            StoreUnavailableError: Nothing is lost; call again later.
        """
        was_behind, self.is_behind = self.is_behind, False
        self._stretch_bytes = _BACKLOG_STRETCH_BYTES if was_behind else _STRETCH_BYTES
        self._reload()
        self._look_for_outboxes()
        put = sum(self._relay_or_complain(reader) for reader in list(self._readers.values()))
        self._let_go_of_what_is_settled()
        return put

    def is_drained(self) -> bool:
        """Whether no outbox holds anything that is not put, as far as this relay may put it. Looks at the disk.

        Raises:
            OutboxError: All but those are drained that cannot be read, and who knows what is in them.
        """
        self._look_for_outboxes(now=True)
        if not all(_is_empty(reader) for reader in self._readers.values()):
            return False
        root = self._settings.outbox_directory
        others = [found for found in survey(root) if root / found.name not in self._readers]
        if any(found.waiting and not found.alive and not found.problem for found in others):
            return False
        unread = [found for found in others if found.problem]
        if unread:
            more = f" and {len(unread) - 1} more" if len(unread) > 1 else ""
            raise OutboxError(f"the outbox {unread[0].name}{more} cannot be read: {unread[0].problem}")
        return True

    def close(self) -> None:
        """Let go of the outboxes and connections."""
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()
        self._adoption.close()
        self._pool.close()

    def _relay_or_complain(self, reader: Reader) -> int:
        try:
            return self._relay(reader)
        except OSError as error:
            self._complain(reader.directory, error)
            return 0

    def _relay(self, reader: Reader) -> int:
        stretch = self._read(reader)
        if not stretch.puts and stretch.end == reader.state.position:
            if self._is_adopted(reader):
                self._finish(reader)
            return 0
        record = self._records[reader.name]
        note = record.note(stretch.start, stretch.end, stretch.puts)
        if note is not None:
            self._logs[reader.name].append(note)
        puts = [replace(put, again=True) if record.is_again(put) else put for put in stretch.puts]
        try:
            self._publish(stretch, puts)
        except BaseException:
            # What of it was put is not known: ask the store before putting it again.
            self._doubtful.add(reader.name)
            reader.rewind()
            raise
        record.confirm(puts)
        reader.commit(stretch.end)
        self._ask_seconds = _ASK_SECONDS
        self._keep_within_limits()
        return sum(put.count for put in puts)

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
                if until is None:
                    # Behind what is damaged, so that it is not looked into again.
                    stretch.end = reader.position
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
        if record is None:
            if reader.state.settled >= reader.state.position and _is_empty(reader):
                # Nothing to cut yet, and nothing can have been put: spare the idle process the connection.
                return False
            record = self._recall(reader)
        position = reader.state.position
        record.learn(self._store.progress(self._cutter.destinations, reader.name), position)
        self._doubtful.discard(reader.name)
        if record.lost_from is None:
            return True
        reader.rewind(record.lost_from)
        record.rewound()
        if reader.state.position == position:
            return True  # what it has forgotten was settled long ago
        logger.warning(
            "the batch store has lost what was put from %s: it is put again from position %d on, %d bytes",
            reader.directory,
            reader.state.position,
            position - reader.state.position,
        )
        return True

    def _recall(self, reader: Reader) -> PutRecord:
        """What relays have noted of a journal, this one or those before it."""
        log = PutLog(reader.directory, journal_bytes=reader.state.journal_bytes)
        record = PutRecord(log.read(), position=reader.state.position, settled=reader.state.settled)
        self._logs[reader.name], self._records[reader.name] = log, record
        self._doubtful.add(reader.name)  # until the store has been asked
        return record

    def _let_go_of_what_is_settled(self) -> None:
        if self._clock() - self._asked_at < self._ask_seconds:
            return
        # Those of the dead are asked about when they are looked into.
        readers = [reader for reader in self._readers.values() if not self._is_adopted(reader)]
        unsettled = [reader for reader in readers if reader.state.settled < reader.state.position]
        if not unsettled:
            return
        self._asked_at = self._clock()
        self._ask_seconds = min(2 * self._ask_seconds, _ASK_SELDOM_SECONDS)
        for reader in unsettled:
            if self._learn(reader) and self._let_go(reader):
                self._ask_seconds = _ASK_SECONDS
        if self._outboxes_are_filling():
            self._let_go_of_all()

    def _let_go(self, reader: Reader) -> bool:
        """Delete what is known to be settled. Whether there was any."""
        settled = min(self._records[reader.name].settled_everywhere, reader.state.position)
        if settled <= reader.state.settled:
            return False
        reader.let_go(settled)
        return True

    def _keep_within_limits(self) -> None:
        limit = min(self._settings.outbox.keep_bytes, self._settings.outbox.max_bytes // 4)
        if limit == 0:
            self._let_go_of_all()
        elif sum(reader.kept_bytes for reader in self._readers.values()) > limit:
            # Of the newer half it is less likely that a Redis has it on its disk already.
            for reader in self._readers.values():
                if reader.kept_bytes and reader.name in self._records:
                    older = reader.state.position - reader.kept_bytes // 2
                    reader.let_go(self._records[reader.name].end_before(older))

    def _outboxes_are_filling(self) -> bool:
        """Whether what is kept may soon be in the way of what is emitted."""
        return journals_bytes(self._settings.outbox_directory) > self._settings.outbox.max_bytes // 2

    def _let_go_of_all(self) -> None:
        for reader in self._readers.values():
            reader.let_go(reader.state.position)

    def _publish(self, stretch: Stretch, puts: list[Put]) -> None:
        if not puts:
            return
        more = doorbell.commands(stretch.rings) if self._celery is None else []
        # A share that the store has in part was cut from stale positions: it takes the next turn to cut it anew.
        if any(position is not None for position in self._store.put(puts, *more)):
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
        if not now and self._clock() - self._looked_at < every:
            return
        self._looked_at = self._clock()
        adopts = self._adoption.is_ours()
        if not adopts and is_at_home:
            return
        if adopts:
            self._tidy()
        has_place = self._has_place()
        new = [one for one in find_outboxes(self._settings.outbox_directory) if one not in self._readers]
        for directory in self._adoption.in_order(new):
            if (has_place or not self._adoption.is_dead(directory)) and self._take(directory, adopts=adopts):
                has_place = self._has_place()

    def _tidy(self) -> None:
        """Now and then, where this relay looks after the dead: remove litter, and see whether room is needed."""
        if self._clock() - self._tidied_at < self._settings.relay.adopt_seconds:
            return
        self._tidied_at = self._clock()
        self._adoption.clear_litter()
        self._is_filling = self._outboxes_are_filling()
        if self._is_filling:
            self._adoption.wake()

    def _take(self, directory: Path, *, adopts: bool) -> bool:
        try:
            reader = Reader(directory)
        except OutboxInUseError:
            return False
        except FileNotFoundError:
            return False  # removed in the meantime
        except (OutboxError, OSError) as error:
            self._complain(directory, error)
            return False
        if directory != self._own and not self._may_take(reader, adopts=adopts):
            reader.close()
            return False
        if directory != self._own and reader.writer_is_dead and not self._adoption.has_put(directory):
            logger.info("relaying the outbox %s, whose process %d is gone", directory, reader.state.pid)
        self._readers[directory] = reader
        return True

    def _may_take(self, reader: Reader, *, adopts: bool) -> bool:
        if not reader.writer_is_dead:
            return self._own is None  # else its own process relays it
        if not adopts:
            return False
        if self._has_place():
            return True
        self._adoption.queue(reader.directory)
        return False

    def _has_place(self) -> bool:
        """Whether another outbox of the dead may be opened."""
        return sum(self._is_adopted(reader) for reader in self._readers.values()) < MAX_OPEN

    def _is_adopted(self, reader: Reader) -> bool:
        return reader.directory != self._own and reader.writer_is_dead

    def _finish(self, reader: Reader) -> None:
        """All of a dead process's outbox is put: remove it once that is settled, and until then keep nothing open."""
        if reader.state.settled < reader.state.position:
            if self._records[reader.name].has_lost:
                self._learn(reader)  # else only when this is opened, which would find the same loss each time
                if not _is_empty(reader):
                    return  # it has lost it again
            self._let_go(reader)
            if self._is_filling:
                reader.let_go(reader.state.position)
        if not self._adoption.is_ours():
            self._drop(reader)
        elif reader.state.settled >= reader.state.position:
            reader.remove()
            self._adoption.forget(reader.directory)
            self._drop(reader)
        else:
            reader.give_back()
            self._adoption.rest(reader.directory)
            self._drop(reader)

    def _drop(self, reader: Reader) -> None:
        del self._readers[reader.directory]
        self._records.pop(reader.name, None)
        self._logs.pop(reader.name, None)
        self._doubtful.discard(reader.name)
        reader.close()
        # There may be others that wait for its place.
        self._looked_at = float("-inf")
        self.is_behind = True

    def _complain(self, directory: Path, error: Exception) -> None:
        if self._clock() - self._complained_at.get(directory, float("-inf")) >= _COMPLAIN_SECONDS:
            self._complained_at[directory] = self._clock()
            logger.error("the outbox %s cannot be read: %s", directory, error)

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
        for name, destination in settings.served_destinations.items()
    }
    return Cutter(Router(settings), limits)
