"""Batching: the events of a journal range become batches for each destination, split where one is full.

A batch is named by where it starts in the journal. So a range that is put again has to be split as it was before.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec

from dispatcher import wire
from dispatcher.event import data_fields, decode
from dispatcher.outcomes import DUPLICATE, UNDECODABLE, UNKNOWN
from dispatcher.routing import Router
from dispatcher.store.counts import NOT_TAKEN
from dispatcher.store.dead_event import DeadEvent
from dispatcher.store.event_ids import IdWindow
from dispatcher.store.packing import pack
from dispatcher.store.put import Put
from dispatcher.suppression.suppression_list import SuppressionList, suppression_list

if TYPE_CHECKING:
    from dispatcher.config import Settings

# Heads of payloads whose route is remembered; names come from callers, so the number has to be bounded.
_MAX_ROUTES: Final = 10_000


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How much one batch of a destination may hold. A single event larger than ``bytes`` is a batch of its own."""

    events: int
    bytes: int


class Batcher:
    """Opens journal ranges, and remembers the routes of events. One thread at a time.

    Args:
        router: Decides where an event goes.
        limits: Of each destination that gets batches.
        slots: Over how many slots the batches of a destination spread, where that is more than one.
        id_window: For how long ids of clients are remembered; None: each event goes on.
        suppressed: Who is to be forgotten; None: nobody.
    """

    def __init__(
        self,
        router: Router,
        limits: Mapping[str, BatchLimits],
        slots: Mapping[str, int] = MappingProxyType({}),
        id_window: IdWindow | None = None,
        suppressed: SuppressionList | None = None,
    ) -> None:
        self._router = router
        self._suppressed = suppressed
        self._limits = limits
        #: Over how many slots the batches of a destination spread, where that is more than one.
        self.slots: Final = slots
        #: For how long ids of clients are remembered; None: each event goes on.
        self.id_window: Final = id_window
        self._routes: dict[bytes, _Route] = {}
        #: Whether ranges keep what passes, for somebody who looks.
        self.is_watched = False

    @property
    def destinations(self) -> tuple[str, ...]:
        """The destinations that get batches, and the name under which the ledger counts what emit did not take."""
        return (*self._limits, NOT_TAKEN)

    def open_range(
        self,
        journal: str,
        start: int,
        *,
        put: Mapping[str, int] = MappingProxyType({}),
        starts: Mapping[str, int] = MappingProxyType({}),
        recorded: Mapping[str, Sequence[tuple[int, int]]] | None = None,
    ) -> JournalRange:
        """Open a range of a journal that begins at ``start``.

        Args:
            journal: The name of the journal.
            start: A position between two events.
            put: The position up to which the store has the journal, by destination; it has nothing for the others.
            starts: The position from which a destination gets events, where that is not ``start``.
            recorded: The ranges of the batches, by destination, into which this very range was split before. It is
                split there again and nowhere else, whatever the limits are now.
        """
        batches = {
            name: _OpenBatch(
                name,
                start=starts.get(name, start),
                after=put.get(name, -1),
                limits=self._limits.get(name, _NOT_TAKEN_LIMITS) if recorded is None else _UNLIMITED,
                recorded=() if recorded is None else recorded.get(name, ()),
            )
            for name in self.destinations
        }
        return JournalRange(self, journal, start, batches)

    def route(self, payload: bytes) -> _Route:
        """Where an event goes, known by the head of its payload. Raises msgspec.DecodeError or RecursionError."""
        head = wire.head(payload)
        route = self._routes.get(head)
        if route is None:
            event = decode(payload)
            routes = self._router.route(event.name, event.type)
            filtered = tuple((name, reason) for name, reason in routes.skipped.items() if name in self._limits)
            route = _Route(event.type in ("dead", "dropped"), event.name, routes.destinations, filtered)
            if len(self._routes) >= _MAX_ROUTES:
                self._routes.clear()
            # Behind an id of another length, the same bytes may be the ends of different names.
            if wire.is_head(head):
                self._routes[head] = route
        return route

    def without_forgotten(self, payloads: Sequence[bytes]) -> Sequence[bytes]:
        """The payloads, with tombstones in the places of events of people who are to be forgotten."""
        return payloads if self._suppressed is None else self._suppressed.replace_forgotten(payloads)

    def where(self, payload: bytes) -> tuple[tuple[str, ...], Mapping[str, str]]:
        """The destinations that an event goes to, and why not to the others that workers serve. Raises as ``route``."""
        route = self.route(payload)
        return route.destinations, dict(route.filtered)


def make_batcher(settings: Settings) -> Batcher:
    """The batcher for all destinations that workers serve."""
    limits = {
        name: BatchLimits(destination.batch_events, destination.batch_bytes)
        for name, destination in settings.served_destinations.items()
    }
    slots = {name: table.slots for name, table in settings.served_destinations.items() if table.slots > 1}
    collector = settings.collector
    window_ms = int(1000 * collector.duplicate_seconds)
    window = IdWindow(window_ms, collector.duplicate_ids) if window_ms else None
    return Batcher(Router(settings), limits, slots, window, suppression_list(settings.state_directory))


@dataclass(frozen=True, slots=True)
class _Route:
    # A dead or dropped event is counted in the ledger and goes to no destination.
    is_not_taken: bool
    name: str
    destinations: tuple[str, ...]
    filtered: tuple[tuple[str, str], ...]


_NOT_TAKEN_LIMITS: Final = BatchLimits(events=1000, bytes=1_000_000)
# For a range that was recorded: the settings may have had other limits then.
_UNLIMITED: Final = BatchLimits(events=sys.maxsize, bytes=sys.maxsize)


class _OpenBatch:
    """What one destination gets of the journal range, since its last batch was closed."""

    __slots__ = (
        "after",
        "dead",
        "example",
        "filtered",
        "limits",
        "name",
        "payloads",
        "recorded_bounds",
        "size",
        "split_at",
        "start",
    )

    def __init__(
        self, name: str, *, start: int, after: int, limits: BatchLimits, recorded: Sequence[tuple[int, int]]
    ) -> None:
        self.name = name
        self.limits = limits
        self.start = start
        self.after = after
        # Starts too: what lies between two recorded batches, if anything, was put by another relay.
        self.recorded_bounds = deque(sorted({bound for batch in recorded for bound in batch if bound > start}))
        self.take_next_bound()
        self.clear()

    def take_next_bound(self) -> None:
        """Take the next recorded bound as the one to split at."""
        self.split_at = self.recorded_bounds.popleft() if self.recorded_bounds else sys.maxsize

    def clear(self) -> None:
        """Begin the next batch."""
        self.payloads: list[bytes] = []
        self.filtered: dict[str, int] = {}
        self.dead: list[DeadEvent] = []
        self.size = 0
        self.example = ""


class JournalRange:
    """A range of a journal that is being split into batches. ``add`` the events in order, then ``close``."""

    def __init__(self, batcher: Batcher, journal: str, start: int, batches: dict[str, _OpenBatch]) -> None:
        self._batcher = batcher
        self._journal = journal
        self._batches = batches
        #: Where it begins in the journal.
        self.start = start
        #: The position behind its last event.
        self.end = start
        #: What the store is to get, in order.
        self.puts: list[Put] = []
        #: Events of it that came by deprecated calls, with the position behind each: they are counted.
        self.by_deprecated_call: list[tuple[bytes, int]] = []
        #: The ends of its duplicates; None where the store was not asked for ids.
        self.duplicates: list[int] | None = None
        #: The sources of its duplicates, with the position behind each: they are counted too.
        self.repeats: list[tuple[str, int]] = []
        #: Each event and whether it is a duplicate, while somebody looks.
        self.passed: list[tuple[bytes, bool]] = []

    def add(self, payloads: Sequence[bytes], ends: Sequence[int], duplicates: Container[int] = frozenset()) -> None:
        """Add events to the batches of their destinations, as tombstones those of people who are to be forgotten.

        Args:
            payloads: Encoded events, oldest first.
            ends: The position behind each, in the same order.
            duplicates: The ends of those that came before, which go to no destination.
        """
        batches, find_route = self._batches, self._batcher.route
        payloads = self._batcher.without_forgotten(payloads)
        self._keep_passed(payloads, ends, duplicates)
        for payload, end in zip(payloads, ends, strict=True):
            try:
                route = find_route(payload)
                if route.is_not_taken:
                    self._add_not_taken(payload, end)
                    continue
            except (msgspec.DecodeError, RecursionError) as error:
                # Nested so deep that emit, on a shorter stack, could still encode it: it must not hold up the others.
                self._add_dead_letter(payload, end, UNDECODABLE, str(error))
                continue
            if duplicates and end in duplicates:
                self._add_duplicate(route, end)
                continue
            for name in route.destinations:
                batch = batches[name]
                if end > batch.split_at:
                    self._split_as_recorded(batch, end)
                if end > batch.start:
                    size = batch.size + len(payload)
                    if size > batch.limits.bytes and batch.payloads:
                        self._close_batch(batch, self.end)
                        size = len(payload)
                    batch.payloads.append(payload)
                    batch.size = size
                    batch.example = batch.example or route.name
                    if len(batch.payloads) >= batch.limits.events:
                        self._close_batch(batch, end)
            for name, reason in route.filtered:
                batch = batches[name]
                if end > batch.split_at:
                    self._split_as_recorded(batch, end)
                if end > batch.start:
                    batch.filtered[reason] = batch.filtered.get(reason, 0) + 1
            self.end = end

    def _keep_passed(self, payloads: Sequence[bytes], ends: Sequence[int], duplicates: Container[int]) -> None:
        if self._batcher.is_watched:
            self.passed += [(payload, end in duplicates) for payload, end in zip(payloads, ends, strict=True)]

    def close(self) -> None:
        """Close the open batches, so that those of every destination reach to the end of the range."""
        for batch in self._batches.values():
            if self.end >= batch.split_at:
                self._split_as_recorded(batch, self.end + 1)
            if batch.start < self.end and (batch.payloads or batch.filtered or batch.dead):
                self._close_batch(batch, self.end)

    def _add_duplicate(self, route: _Route, end: int) -> None:
        """Count an event that came before at each destination that it would have gone to, and where it never goes."""
        for name, reason in (*((name, DUPLICATE) for name in route.destinations), *route.filtered):
            batch = self._batches[name]
            if end > batch.split_at:
                self._split_as_recorded(batch, end)
            if end > batch.start:
                batch.filtered[reason] = batch.filtered.get(reason, 0) + 1
        self.end = end

    def _add_not_taken(self, payload: bytes, end: int) -> None:
        """Add what emit did not take: a dropped event is counted, a dead one becomes a dead letter."""
        event = decode(payload)
        data = data_fields(event)
        reason = str(data.get("reason", UNKNOWN))
        if event.type == "dead":
            self._add_dead_letter(payload, end, reason, str(data.get("error", "")))
            return
        batch = self._batches[NOT_TAKEN]
        if end > batch.split_at:
            self._split_as_recorded(batch, end)
        if end > batch.start:
            batch.filtered[reason] = batch.filtered.get(reason, 0) + 1
        self.end = end

    def _add_dead_letter(self, payload: bytes, end: int, reason: str, error: str) -> None:
        batch = self._batches[NOT_TAKEN]
        if end > batch.split_at:
            self._split_as_recorded(batch, end)
        if end > batch.start:
            batch.dead.append(DeadEvent(reason, error, payload))
        self.end = end

    def _split_as_recorded(self, batch: _OpenBatch, end: int) -> None:
        """Split at every recorded bound that lies before the event which ends at ``end``."""
        while end > batch.split_at:
            if batch.payloads or batch.filtered or batch.dead:
                self._close_batch(batch, batch.split_at)
            batch.start = batch.split_at
            batch.take_next_bound()

    def _close_batch(self, batch: _OpenBatch, end: int) -> None:
        put = Put(
            destination=batch.name,
            journal=self._journal,
            start=batch.start,
            end=end,
            after=batch.after,
            packed=pack(batch.payloads) if batch.payloads else b"",
            count=len(batch.payloads),
            example=batch.example,
            filtered=batch.filtered,
            dead=batch.dead,
        )
        self.puts.append(put)
        batch.start = batch.after = end
        batch.clear()
