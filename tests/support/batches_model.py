"""A model of one destination's batch store in plain Python, written after the description of its commands.

The real store is compared with it, so it is as simple as possible: it has no counter that could be counted instead.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dispatcher.store.claim import Claim, JoinLimits
from dispatcher.store.dead_event import DeadEvent, describe_event, pack_event
from dispatcher.store.packing import unpacked_bytes
from dispatcher.store.put import Put
from dispatcher.store.settlement import Settlement
from tests.support.modelled_batch import LETTERS_BYTES, Batch, Letter
from tests.support.modelled_mailboxes import MailboxCommands, MailboxesModel

#: Milliseconds for which a range that left dead letters counts as open.
UNSURE_MS = 10_000
#: Milliseconds after which a ring counts as lost, in an empty queue and in any queue.
IDLE_MS, LOST_MS = 5_000, 600_000
#: Milliseconds for which what is queued waits for more, while a delivery is under way.
HOLD_MS = 100
#: Leases lost in a row after which a claim gives half of the batch, and after which an isolated event is condemned.
SUSPECT_LEASES, CONDEMNED_LEASES = 3, 6


class RefusedError(Exception):
    """Redis is full, and the command needs memory."""


@dataclass
class Model(MailboxCommands):
    """One destination. ``now_ms`` is set before each command, and ``is_full`` while Redis is at maxmemory."""

    now_ms: int = 0
    is_full: bool = False
    batches: dict[str, Batch] = field(default_factory=dict)
    letters: list[Letter] = field(default_factory=list)
    positions: dict[str, int] = field(default_factory=dict)
    unsure: dict[str, dict[int, int]] = field(default_factory=dict)
    delivered: int = 0
    retried: int = 0
    accepted: int = 0
    filtered: Counter[str] = field(default_factory=Counter)
    limit_bytes: int | None = None
    cut: int = 0
    filed: int = 0
    unkept: int = 0
    ring_ms: int | None = None
    is_chained: bool = False
    joined_events: int = 0
    mailboxes: MailboxesModel = field(default_factory=MailboxesModel)
    last_error: str = ""
    last_error_ms: int | None = None
    last_delivered_ms: int | None = None

    # Put.

    def position(self, journal: str) -> int:
        """Up to where a journal was put: as remembered, or as its last open batch says."""
        if journal in self.positions:
            return self.positions[journal]
        opened = self._open(journal)
        return max(opened, key=lambda batch: batch.start).end if opened else -1

    def put(self, put: Put, payloads: Sequence[bytes], *, restored: bool = False) -> int | None:
        """None if it is in the store now, else the position to put from. Raises RefusedError."""
        position = self.position(put.journal)
        if put.end <= position:
            return None
        if put.start < position or position < put.after:
            return position
        if self.is_full:
            raise RefusedError
        self.positions[put.journal] = put.end
        if payloads:
            self.batches[put.batch_id] = Batch(
                put.batch_id,
                list(payloads),
                self.now_ms,
                score=self.now_ms,
                bytes=unpacked_bytes(put.packed),
                example=put.example,
                journal=put.journal,
                start=put.start,
                end=put.end,
                unheard=int(put.again),
            )
            if not restored and not (self.is_chained and (self._is_ringing(idle=False) or self._is_held_back())):
                self.ring_ms = self.now_ms
        self.filtered.update(put.filtered)
        self._add_letters(put.dead, 0)
        if put.dead:
            self._stay_open(put.journal, put.start)
        self.accepted += len(payloads) + sum(put.filtered.values()) + len(put.dead)
        return None

    def progress(self, journal: str) -> tuple[int, int]:
        """Up to where it was put, and the start of the first range that is open or has just left dead letters."""
        self._drop_old_unsure(journal)
        starts = [batch.start for batch in self._open(journal)] + list(self.unsure.get(journal, {}))
        return self.position(journal), min(starts, default=-1)

    def forget(self, journal: str) -> None:
        """The key of its position is gone."""
        position = self.position(journal)
        self.positions.pop(journal, None)
        assert self.position(journal) <= position

    # Claim and settle.

    def claim(self, batch_id: str, token: str, lease_ms: int) -> str | Batch:
        """The batch, or the reason why it cannot be claimed. ``unheard`` counts earlier claims without an answer."""
        self.ring_ms = None
        batch = self.batches.get(batch_id)
        if batch is None:
            return "settled"
        if self._is_held(batch):
            return batch.state
        return self._take(batch, token, lease_ms)

    def claim_all(self, batch_id: str, token: str, lease_ms: int, limits: JoinLimits | None) -> str | list[Batch]:
        """The batches that come together, or the reason why none can be claimed. Rings for what is left."""
        self.ring_ms = None
        named = self.batches.get(batch_id)
        chosen = self._oldest_waiting() if named is None or self._is_held(named) else named
        if chosen is None:
            return "settled" if named is None else named.state
        events, size = (0, 0) if limits is None else (limits.events, limits.bytes)
        self.is_chained, self.joined_events = True, events
        joins = chosen.lost == 0 and not chosen.token and chosen.bytes > 0
        events, size = events - len(chosen.payloads), size - chosen.bytes
        found = [self._take(chosen, token, lease_ms)]
        waiting = [one for one in self.batches.values() if one.state != "claimed" and not self._is_held(one)]
        for one in sorted(waiting, key=lambda batch: (batch.score, batch.id)) if joins else ():
            if events <= 0 or size <= 0:
                break
            if one.lost == 0 and not one.token and len(one.payloads) <= events and 0 < one.bytes <= size:
                events, size = events - len(one.payloads), size - one.bytes
                found.append(self._take(one, token, lease_ms))
        return found

    def ring_for_next(self) -> Batch | None:
        """The batch to ring for where something is left, after a claim or a settlement; None where none is due."""
        return None if self._is_held_back() else self.due(idle=False)

    def _is_held(self, batch: Batch) -> bool:
        return batch.state in ("claimed", "parked") and batch.score > self.now_ms

    def _take(self, batch: Batch, token: str, lease_ms: int) -> Batch:
        if batch.token:
            self._lose_lease(batch)
        batch.part = math.ceil(min(batch.within, len(batch.payloads)) / 2) if batch.within else None
        batch.state, batch.score, batch.token = "claimed", self.now_ms + lease_ms, token
        batch.unheard += 1
        return batch

    @staticmethod
    def _lose_lease(batch: Batch) -> None:
        part = len(batch.handed_out)
        batch.lost += 1
        if batch.lost >= SUSPECT_LEASES:
            batch.within = part
        if batch.within == part == 1 and batch.lost >= CONDEMNED_LEASES:
            batch.condemned = True

    def _note_late(self, batch_id: str) -> None:
        """A worker answers after its lease was lost: it was slow, and neither killed nor hung."""
        batch = self.batches.get(batch_id)
        if batch is not None:
            batch.lost = min(batch.lost, SUSPECT_LEASES)

    def holds(self, claim: Claim) -> bool:
        """Whether this worker still has the batch."""
        batch = self.batches.get(claim.batch_id)
        return batch is not None and batch.state == "claimed" and batch.token == claim.token

    def settle(self, claim: Claim, settlement: Settlement) -> bool:
        """Returns False if the lease was lost, and then records nothing."""
        if not self.holds(claim):
            self._note_late(claim.batch_id)
            return False
        batch = self.batches[claim.batch_id]
        self.delivered += settlement.delivered
        if settlement.delivered:
            self.last_delivered_ms = self.now_ms
        self.filtered.update(settlement.filtered)
        self._add_letters(settlement.dead, batch.attempts + 1)
        for one in settlement.posted:
            self._count_posted(self.mailboxes.post(one, self.now_ms, settlement.keep_seconds))
        if (settlement.dead or settlement.posted) and batch.journal:
            self._stay_open(batch.journal, batch.start)
        if settlement.error:
            self.last_error, self.last_error_ms = settlement.error, self.now_ms
        rest = batch.payloads[len(batch.handed_out) :]
        if settlement.left or rest:
            settled = len(batch.handed_out) - len(settlement.left)
            batch.payloads = [*settlement.left, *rest]
            batch.attempts += settlement.burns_attempt
            batch.state, batch.score = ("parked", settlement.due_ms) if settlement.left else ("queued", 0)
            batch.token, batch.part = "", None
            batch.unheard -= 1
            batch.first += settled
            self.retried += len(settlement.left)
            self._clear_suspicion(batch, settled)
            return True
        if batch.journal:
            self.positions[batch.journal] = self.position(batch.journal)
        del self.batches[claim.batch_id]
        return True

    @staticmethod
    def _clear_suspicion(batch: Batch, settled: int) -> None:
        batch.within = max(0, batch.within - settled)
        if not batch.within:
            # Once the fatal event is found, the rest is tried as a whole, but only once.
            batch.lost = SUSPECT_LEASES - 1 if batch.condemned else 0
            batch.condemned = False

    def due(self, *, idle: bool) -> Batch | None:
        """The batch to ring for now, which is the oldest one; None while a ring is under way, or nothing waits."""
        oldest = self._oldest_waiting()
        if oldest is None or self._is_ringing(idle=idle):
            return None
        self.ring_ms = self.now_ms
        return oldest

    def _is_ringing(self, *, idle: bool) -> bool:
        age = math.inf if self.ring_ms is None else self.now_ms - self.ring_ms
        return 0 <= age < (IDLE_MS if idle else LOST_MS)

    def _is_held_back(self) -> bool:
        """Whether less than a delivery waits, and not for long, while another is under way."""
        oldest = self._oldest_waiting()
        is_under_way = any(batch.score > self.now_ms for batch in self._in("claimed"))
        if oldest is None or not is_under_way:
            return False
        return self.counts()["queued"] < self.joined_events and 0 <= self.now_ms - oldest.score < HOLD_MS

    def _oldest_waiting(self) -> Batch | None:
        heads = [batch for state in ("queued", "claimed", "parked") for batch in self._in(state)[:1]]
        waiting = [batch for batch in heads if batch.state == "queued" or batch.score <= self.now_ms]
        return min(waiting, key=lambda batch: batch.score, default=None)

    # Dead letters.

    def revive(self, batch_id: str, places: Sequence[int]) -> bool:
        """Make a batch, rung for long ago, of the letters with these indexes. Returns False if one is missing."""
        if len(set(places)) < len(places) or any(place >= len(self.letters) for place in places):
            return False
        bodies = [self.letters[place].body for place in places]
        self._take_out(places)
        self.batches[batch_id] = Batch(batch_id, bodies, self.now_ms)
        return True

    def drop(self, places: Sequence[int]) -> int:
        """Drop the letters with these indexes. Returns how many existed."""
        existing = {place for place in places if place < len(self.letters)}
        self._take_out(sorted(existing))
        if existing:
            self.filtered["dropped"] += len(existing)
        return len(existing)

    def overdue(self, *, most: int, age_ms: int, going_on: bool) -> list[int]:
        """The indexes of the letters that are to go to a file."""
        self.limit_bytes = most
        if not self.letters:
            return []
        is_old = age_ms > 0 and self.letters[0].at_ms <= self.now_ms - age_ms
        if not going_on and self.letter_bytes <= most and not is_old:
            return []
        left = self.letter_bytes
        found: list[int] = []
        for place, letter in enumerate(self.letters):
            if left <= most * 0.75 and not (age_ms > 0 and letter.at_ms <= self.now_ms - age_ms * 0.99):
                break
            found.append(place)
            left -= letter.bytes
        return found

    def file(self, places: Sequence[int]) -> None:
        """The letters with these indexes are in a file now."""
        self._take_out(places)
        self.filed += len(places)

    def restore(self, put: Put, payloads: Sequence[bytes]) -> int | None:
        """Like ``put``, for events of a file, which are no longer dead. Raises RefusedError."""
        before = self.accepted
        answer = self.put(put, payloads, restored=True)
        if self.accepted > before:
            known = min(self.filed, len(payloads))
            self.filed -= known
            self.accepted -= known
            self.batches[put.batch_id].score = 0
        return answer

    def forget_filed(self) -> int:
        """Count dead letters that are not in Redis as filtered."""
        gone = self.filed + self.unkept
        self.filed = self.unkept = 0
        if gone:
            self.filtered["dropped"] += gone
        return gone

    # Inspect.

    @property
    def letter_bytes(self) -> int:
        """The size of all letters."""
        return sum(letter.bytes for letter in self.letters)

    def counts(self) -> dict[str, Any]:
        """The fields of Counts that the model knows."""
        waiting = {state: sum(len(b.payloads) for b in self._in(state)) for state in ("queued", "claimed", "parked")}
        return {
            "accepted": self.accepted,
            "delivered": self.delivered,
            "dead": len(self.letters) + self.filed + self.unkept,
            "dead_bytes": self.letter_bytes,
            "dead_limit_bytes": self.limit_bytes,
            "dead_oldest_ms": self.letters[0].at_ms if self.letters else None,
            "dead_cut": self.cut,
            "filtered": self.filtered.total(),
            **waiting,
            "posted": len(self.mailboxes.waiting),
            "retried": self.retried,
            "batches": len(self.batches),
            "oldest_ms": min((batch.put_ms for batch in self.batches.values()), default=None),
            "due_ms": min((batch.score for batch in self._in("parked")), default=None),
            "last_delivered_ms": self.last_delivered_ms,
            "last_error": self.last_error,
            "last_error_ms": self.last_error_ms,
            "dead_by_reason": +(
                Counter(letter.reason for letter in self.letters) + Counter(filed=self.filed, unkept=self.unkept)
            ),
            "filtered_by_reason": self.filtered,
        }

    def states(self) -> dict[str, tuple[Any, ...]]:
        """The state of each waiting batch, as the store has it."""
        return {
            batch.id: (batch.state, batch.score, len(batch.payloads), batch.attempts, batch.unheard, batch.put_ms)
            for batch in self.batches.values()
        }

    def open_batches(self) -> dict[str, dict[str, int]]:
        """The starts of each journal's open batches."""
        found: dict[str, dict[str, int]] = {}
        for batch in self.batches.values():
            if batch.journal:
                found.setdefault(batch.journal, {})[batch.id] = batch.start
        return found

    def _open(self, journal: str) -> list[Batch]:
        return [batch for batch in self.batches.values() if batch.journal == journal]

    def _in(self, state: str) -> list[Batch]:
        found = [batch for batch in self.batches.values() if batch.state == state]
        return sorted(found, key=lambda batch: (batch.score, batch.id))

    def _add_letters(self, dead: Sequence[DeadEvent], attempts: int) -> None:
        for one in dead:
            letter = Letter(one.reason, one.error, pack_event(one.payload), attempts, self.now_ms)
            self._add_letter(letter, describe_event(one.payload))

    def _add_letter(self, letter: Letter, in_short: bytes) -> None:
        limit = LETTERS_BYTES if self.limit_bytes is None else self.limit_bytes
        is_cut = self.letter_bytes + letter.bytes > 2 * limit and len(in_short) < len(letter.body)
        if is_cut:
            letter.body = in_short
        if self.letter_bytes + letter.bytes > 3 * limit:
            self.unkept += 1
        else:
            self.letters.append(letter)
            self.cut += is_cut

    def _stay_open(self, journal: str, start: int) -> None:
        self._drop_old_unsure(journal)
        self.unsure.setdefault(journal, {})[start] = self.now_ms

    def _drop_old_unsure(self, journal: str) -> None:
        kept = self.unsure.get(journal, {})
        self.unsure[journal] = {start: when for start, when in kept.items() if when > self.now_ms - UNSURE_MS}

    def _take_out(self, places: Sequence[int]) -> None:
        gone = set(places)
        self.letters = [letter for place, letter in enumerate(self.letters) if place not in gone]
