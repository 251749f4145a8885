"""Relay: read the journals, route, put into the batch store, ring, and only then move on.

An event counts as put only once the store has said so. To put one again is harmless, since the store knows how far
each journal was put. The journals are kept until their batches are settled, so that a store that has lost some of
them gets these again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dispatcher.config.watch import SettingsWatch
from dispatcher.connections.redis_pool import RedisPool
from dispatcher.live.arrivals import show_arrivals
from dispatcher.live.tap import Tap
from dispatcher.process.clock import monotonic
from dispatcher.relay.batching import make_batcher
from dispatcher.relay.outboxes import Outboxes
from dispatcher.relay.relayed_outbox import PutRefusedError
from dispatcher.store import doorbell
from dispatcher.store.batches import BatchStore
from dispatcher.store.celery_producer import make_producer
from dispatcher.store.put import Put

if TYPE_CHECKING:
    from dispatcher.config import Settings
    from dispatcher.relay.relayed_outbox import RelayedOutbox

logger = logging.getLogger(__name__)

# Bytes of events that go to the store in one round trip, well within its timeout; and where there is a backlog, which
# is worked off with fewer of the pauses in which a busy thread of the same process takes the interpreter for longer.
_RANGE_BYTES: Final = 1_000_000
_BACKLOG_RANGE_BYTES: Final = 4_000_000

# Seconds between two questions to the store as to what is settled: while that changes, and while it does not.
_ASK_SECONDS: Final = 1.0
_ASK_SELDOM_SECONDS: Final = 10.0


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
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._settings = settings
        self._pause = pause
        self._clock = clock
        self._pool = RedisPool(settings.store, timeout_seconds=settings.relay.timeout_seconds)
        self._store = BatchStore(self._pool) if store is None else store
        self._celery = make_producer(settings)
        self._batcher = make_batcher(settings)
        # Nobody looks at a store that is not in this Redis.
        self._can_be_watched = store is None
        self._tap = Tap(self._pool, is_on=settings.is_debug and self._can_be_watched)
        self._watch = SettingsWatch(settings)
        self._outboxes = Outboxes(settings, own=own, store=self._store, clock=clock)
        self._range_bytes = _RANGE_BYTES
        self._asked_at = float("-inf")
        self._is_unsettled = False
        self._ask_seconds = _ASK_SECONDS
        #: Whether the last step left something that could have been read: the next one need not wait for more.
        self.is_behind = False
        #: About how many events the last step read from the journals; 0 only where it found none.
        self.moved_events = 0

    def step(self, *, search: bool = False) -> int:
        """Relay what waits, up to some megabytes of each outbox. Blocks up to the store's timeout.

        An outbox that cannot be read is logged, and keeps no other waiting.

        Args:
            search: Look for new outboxes now, and not only every ``relay.adopt_seconds``.

        Returns:
            How many events were put, counted for each destination.

        Raises:
            StoreUnavailableError: The store did not answer. Nothing is lost; call again later.
            PutRefusedError: The store had something else than was thought. Nothing is lost; call again later.
        """
        was_behind, self.is_behind, self.moved_events = self.is_behind, False, 0
        self._range_bytes = _BACKLOG_RANGE_BYTES if was_behind else _RANGE_BYTES
        self._reload()
        # Now and then all are read, and not only those whose writer says that it has appended something.
        has_searched = self._outboxes.search(now=search)
        put = 0
        for outbox in self._outboxes:
            if outbox.is_asleep and not has_searched:
                continue
            outbox.wake_up()
            try:
                put += self._relay(outbox)
            except OSError as error:
                self._outboxes.log_unreadable(outbox.directory, error)
        self._discard_settled()
        return put

    @property
    def only_outbox(self) -> Path | None:
        """The one outbox that concerns this relay: its own. None where it looks after all of the machine."""
        return self._outboxes.only_outbox

    def fall_asleep(self) -> bool:
        """Have every writer wake this relay at its next event; ``step`` passes it over until then.

        Returns:
            False where something came in the meantime: step again at once.
        """
        return self._outboxes.fall_asleep()

    def next_step_in(self) -> float:
        """In how many seconds a step is due even if nothing is emitted: for the dead, and for what is settled."""
        due = self._outboxes.search_in()
        if self._is_unsettled:
            due = min(due, max(0.0, self._asked_at + self._ask_seconds - self._clock()))
        return due

    def is_drained(self) -> bool:
        """Whether everything that this relay may put is put. Reads the disk.

        Raises:
            OutboxError: All outboxes are drained but those that cannot be read.
        """
        return self._outboxes.is_drained()

    def close(self) -> None:
        """Close the outboxes and connections. May be called twice."""
        self._outboxes.close()
        self._pool.close()

    def _relay(self, outbox: RelayedOutbox) -> int:
        self._batcher.is_watched = bool(self._tap.leases())
        journal_range, has_more = outbox.read_range(self._batcher, max_bytes=self._range_bytes, pause=self._pause)
        self.is_behind |= has_more
        if not journal_range.puts and journal_range.end == outbox.reader.state.position:
            if self._outboxes.is_adopted(outbox):
                self._finish(outbox)
            return 0
        if journal_range.passed:
            # Before a worker can have it, so that who looks sees it come before it goes.
            show_arrivals(self._tap, journal_range.passed, self._batcher.where)
        puts = outbox.record(journal_range)
        try:
            self._publish(puts)
            if journal_range.by_deprecated_call:
                # Before the range is committed: it is read again where this fails, and counted once all the same.
                counted = journal_range.by_deprecated_call
                self._store.deprecated_calls.count(outbox.reader.name, journal_range.end, counted)
            if journal_range.repeats:
                self._store.duplicates.count(outbox.reader.name, journal_range.repeats)
        except BaseException:
            # The store may have some of it.
            outbox.doubt()
            raise
        outbox.commit(puts, journal_range.end)
        self.moved_events += max((1, *(put.count for put in puts)))
        self._ask_seconds = _ASK_SECONDS
        self._keep_within_limits()
        return sum(put.count for put in puts)

    def _publish(self, puts: list[Put]) -> None:
        if not puts:
            return
        positions, rings = self._store.put_and_ring(puts, here=self._celery is None)
        if any(position is not None for position in positions):
            raise PutRefusedError(
                f"the batch store has the journal {puts[0].journal} up to another position than this relay knew; "
                "it is asked for it, and then gets the rest"
            )
        if self._celery is None or not rings:
            return
        try:
            doorbell.send(self._celery, rings)
        except Exception as error:
            # The events are in the store, and the workers' bells ring for what was not rung for.
            logger.warning("the broker did not take a doorbell; the workers' bell will ring it: %s", error)

    def _finish(self, outbox: RelayedOutbox) -> None:
        """Close a dead process's outbox of which everything is put, and remove it where that is settled."""
        if not outbox.is_settled:
            if outbox.has_lost:
                # Otherwise it is compared only when it is opened, which would find the same loss each time.
                outbox.compare(self._batcher)
                if not outbox.is_empty():
                    return  # the store has lost it again
            outbox.discard_settled()
            if self._outboxes.is_room_needed:
                outbox.discard_put()
        self._outboxes.close_adopted(outbox)
        self.is_behind = True

    def _discard_settled(self) -> None:
        """Now and then: ask the store what is settled, and delete the files of that."""
        # Dead processes' outboxes are compared when they are opened.
        unsettled = [
            outbox for outbox in self._outboxes if not outbox.is_settled and not self._outboxes.is_adopted(outbox)
        ]
        self._is_unsettled = bool(unsettled)
        if not unsettled or self._clock() - self._asked_at < self._ask_seconds:
            return
        self._asked_at = self._clock()
        self._ask_seconds = min(2 * self._ask_seconds, _ASK_SELDOM_SECONDS)
        for outbox in unsettled:
            if outbox.compare(self._batcher) and outbox.discard_settled():
                self._ask_seconds = _ASK_SECONDS
        if self._outboxes.are_filling():
            self._discard_put()

    def _keep_within_limits(self) -> None:
        """Keep no more of what was put than ``outbox.keep_bytes``, and a quarter of ``outbox.max_bytes``."""
        limit = min(self._settings.outbox.keep_bytes, self._settings.outbox.max_bytes // 4)
        if limit == 0:
            self._discard_put()
        elif sum(outbox.reader.kept_bytes for outbox in self._outboxes) > limit:
            # A Redis is less likely to have the newer half on its disk already.
            for outbox in self._outboxes:
                outbox.discard_older_half()

    def _discard_put(self) -> None:
        for outbox in self._outboxes:
            outbox.discard_put()

    def _reload(self) -> None:
        settings = self._watch.changed()
        if settings is None:
            return
        self._settings = self._outboxes.settings = settings
        self._batcher = make_batcher(settings)
        self._tap.is_on = settings.is_debug and self._can_be_watched
        for outbox in self._outboxes:
            outbox.doubt()  # the progress says nothing of new destinations
