"""Cutting: a stretch of one journal becomes a share for each destination, split where a batch is full. Pure."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import msgspec

from dispatcher import wire
from dispatcher.event import decode
from dispatcher.routing import Router
from dispatcher.store.batches import NOT_TAKEN, DeadEvent, Put, pack
from dispatcher.store.doorbell import Ring

# Heads of payloads whose route is remembered; names come from callers, so there has to be an end to them.
_MAX_KNOWN: Final = 10_000


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """Where one destination's batches are cut."""

    events: int
    bytes: int


class Cutter:
    """Cuts what a relay has read into shares. Keeps the open shares of one stretch; one thread at a time."""

    def __init__(self, router: Router, limits: Mapping[str, BatchLimits]) -> None:
        self._router = router
        self._limits = limits
        self._known: dict[bytes, _Way] = {}

    @property
    def destinations(self) -> tuple[str, ...]:
        """All that shares are cut for, with the ledger's own."""
        return (*self._limits, NOT_TAKEN)

    def begin(
        self,
        journal: str,
        start: int,
        *,
        put: Mapping[str, int] = MappingProxyType({}),
        starts: Mapping[str, int] = MappingProxyType({}),
        cuts: Mapping[str, Sequence[tuple[int, int]]] | None = None,
    ) -> Stretch:
        """A new stretch from ``start`` on.

        Args:
            put: Up to where the store has the journal, for each destination; nothing of it for one that is not named.
            starts: From where on each destination gets anything; from ``start`` on where it is not named.
            cuts: Where this very stretch was cut before, to be cut there again and nowhere else.
        """
        shares = {
            name: _Share(
                name,
                start=starts.get(name, start),
                after=put.get(name, -1),
                limits=self._limits.get(name, _NO_LIMITS) if cuts is None else _NO_END,
                cuts=() if cuts is None else cuts.get(name, ()),
            )
            for name in self.destinations
        }
        return Stretch(self, journal, start, shares)

    def way(self, payload: bytes) -> _Way:
        """Where an event goes, known by the head of its payload. Raises msgspec.DecodeError or RecursionError."""
        head = wire.head(payload)
        way = self._known.get(head)
        if way is None:
            way = self._find_way(payload)
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            # Behind an id of another length, the same bytes may be the ends of different names.
            if wire.is_head(head):
                self._known[head] = way
        return way

    def _find_way(self, payload: bytes) -> _Way:
        event = decode(payload)
        routes = self._router.route(event.name, event.type)
        filtered = tuple((name, reason) for name, reason in routes.skipped.items() if name in self._limits)
        return _Way(event.type in ("dead", "dropped"), event.name, routes.destinations, filtered)


@dataclass(frozen=True, slots=True)
class _Way:
    is_letter: bool
    name: str
    destinations: tuple[str, ...]
    filtered: tuple[tuple[str, str], ...]


_NO_LIMITS: Final = BatchLimits(events=1000, bytes=1_000_000)
# For a stretch that is cut as before, whose limits were others if the settings have changed since.
_NO_END: Final = BatchLimits(events=sys.maxsize, bytes=sys.maxsize)


class _Share:
    """What one destination gets of the stretch, since its last cut."""

    __slots__ = (
        "after",
        "bounds",
        "cut_at",
        "dead",
        "example",
        "filtered",
        "limits",
        "name",
        "payloads",
        "size",
        "start",
    )

    def __init__(
        self, name: str, *, start: int, after: int, limits: BatchLimits, cuts: Sequence[tuple[int, int]]
    ) -> None:
        self.name = name
        self.limits = limits
        self.start = start
        self.after = after
        # Also where a range began: what is between two ranges, if anything, was put by another relay.
        self.bounds = deque(sorted({bound for cut in cuts for bound in cut if bound > start}))
        self.cut_at = sys.maxsize
        self.next_bound()
        self.clear()

    def next_bound(self) -> None:
        """Go on to the next place where it was cut before, if there is one."""
        self.cut_at = self.bounds.popleft() if self.bounds else sys.maxsize

    def clear(self) -> None:
        self.payloads: list[bytes] = []
        self.filtered: dict[str, int] = {}
        self.dead: list[DeadEvent] = []
        self.size = 0
        self.example = ""


class Stretch:
    """Shares being cut. ``add`` the events in order, then ``finish``."""

    def __init__(self, cutter: Cutter, journal: str, start: int, shares: dict[str, _Share]) -> None:
        self._cutter = cutter
        self._journal = journal
        self._shares = shares
        self.start = start
        self.end = start
        self.puts: list[Put] = []
        self.rings: list[Ring] = []

    def add(self, payloads: Sequence[bytes], ends: Sequence[int]) -> None:
        """Share out events, each with the position behind it."""
        shares, way_of = self._shares, self._cutter.way
        for payload, end in zip(payloads, ends, strict=True):
            try:
                way = way_of(payload)
                if way.is_letter:
                    self._bury_letter(payload, end)
                    continue
            except (msgspec.DecodeError, RecursionError) as error:
                # Nested so deep that emit, on a shorter stack, could still encode it: it must not hold up the others.
                self._bury(payload, end, "undecodable", str(error))
                continue
            for name in way.destinations:
                share = shares[name]
                if end > share.cut_at:
                    self._cut_as_before(share, end)
                if end > share.start:
                    size = share.size + len(payload)
                    if size > share.limits.bytes and share.payloads:
                        self._cut(share, self.end)
                        size = len(payload)
                    share.payloads.append(payload)
                    share.size = size
                    share.example = share.example or way.name
                    if len(share.payloads) >= share.limits.events:
                        self._cut(share, end)
            for name, reason in way.filtered:
                share = shares[name]
                if end > share.cut_at:
                    self._cut_as_before(share, end)
                if end > share.start:
                    share.filtered[reason] = share.filtered.get(reason, 0) + 1
            self.end = end

    def finish(self) -> None:
        """Cut what is open, so that the shares of every destination reach to the end of the stretch."""
        for share in self._shares.values():
            if self.end >= share.cut_at:
                self._cut_as_before(share, self.end + 1)
            if share.start < self.end and (share.payloads or share.filtered or share.dead):
                self._cut(share, self.end)

    def _bury_letter(self, payload: bytes, end: int) -> None:
        event = decode(payload)
        said = event.data if isinstance(event.data, dict) else {}
        reason = str(said.get("reason", "unknown"))
        if event.type == "dropped":
            share = self._shares[NOT_TAKEN]
            if end > share.cut_at:
                self._cut_as_before(share, end)
            if end > share.start:
                share.filtered[reason] = share.filtered.get(reason, 0) + 1
            self.end = end
        else:
            self._bury(payload, end, reason, str(said.get("error", "")))

    def _bury(self, payload: bytes, end: int, reason: str, error: str) -> None:
        share = self._shares[NOT_TAKEN]
        if end > share.cut_at:
            self._cut_as_before(share, end)
        if end > share.start:
            share.dead.append(DeadEvent(reason, error, payload))
        self.end = end

    def _cut_as_before(self, share: _Share, end: int) -> None:
        """Make every cut of the last time that is before the event which ends at ``end``."""
        while end > share.cut_at:
            if share.payloads or share.filtered or share.dead:
                self._cut(share, share.cut_at)
            share.start = share.cut_at
            share.next_bound()

    def _cut(self, share: _Share, end: int) -> None:
        put = Put(
            destination=share.name,
            journal=self._journal,
            start=share.start,
            end=end,
            after=share.after,
            packed=pack(share.payloads) if share.payloads else b"",
            count=len(share.payloads),
            example=share.example,
            filtered=share.filtered,
            dead=share.dead,
        )
        self.puts.append(put)
        if share.payloads:
            self.rings.append(
                Ring(destination=share.name, batch_id=put.batch_id, count=put.count, example=share.example)
            )
        share.start = share.after = end
        share.clear()
