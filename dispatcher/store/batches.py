"""The batch store: the batches that wait for each destination. It is the truth; Celery's messages only name batches.

Each method is one atomic step in Redis (lua/), blocks up to the pool's timeout, and raises StoreUnavailableError where
Redis does not answer: then the step may or may not have happened, and it is harmless to take it again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from dispatcher.connections.redis_pool import Command, RedisPool
from dispatcher.errors import BatchDamagedError
from dispatcher.outcomes import DAMAGED
from dispatcher.store import script
from dispatcher.store.claim import BreakerOpen, Claim, Claimed, Damaged, JoinLimits, Paused
from dispatcher.store.counts import Counts, join_slots, read_fields
from dispatcher.store.dead_event import DeadEvent
from dispatcher.store.deprecated_calls import DeprecatedCalls
from dispatcher.store.doorbell import Ring, template
from dispatcher.store.duplicates import Duplicates
from dispatcher.store.packing import unpack
from dispatcher.store.put import Progress, Put
from dispatcher.store.remembered_ids import RememberedIds
from dispatcher.store.script import Call, ScriptCaller
from dispatcher.store.settlement import Settled, Settlement
from dispatcher.store.slots import read_slots, slot_name

# Bytes that are kept of a batch that cannot be unpacked: more than a batch of the usual size takes, packed.
_MAX_DAMAGED_BYTES: Final = 1024 * 1024

# The answer of put.lua where the caller has to ring.
_RING: Final = 2


class BatchStore:
    """The batch store in one Redis. Safe in threads and after a fork.

    Args:
        pool: The connections to use.
        clock: Gives the time in seconds since 1970, for tests. None: Redis' own clock, which all hosts share.
    """

    def __init__(self, pool: RedisPool, *, clock: Callable[[], float] | None = None) -> None:
        self._pool = pool
        self._scripts = ScriptCaller(pool, clock)
        #: Who still calls what is deprecated.
        self.deprecated_calls: Final = DeprecatedCalls(self._scripts, pool)
        #: How many events came again, by source of the collector.
        self.duplicates: Final = Duplicates(self._scripts, pool)
        #: By which ids that came with events a relay knows those that come again.
        self.ids: Final = RememberedIds(self._scripts, pool)

    def put(self, puts: Sequence[Put], *more: Command) -> list[int | None]:
        """Put several ranges in one round trip, and carry out ``more`` commands after them. Rings for nothing.

        Returns:
            For each range None if it is in the store now, whether by this call or an earlier one. Otherwise the
            position from which on the journal has to be put anew: nothing of the range was put now.
        """
        calls = [(put.slot_name, put.arguments, put.data) for put in puts]
        answers = self._scripts.call_many(script.PUT, calls, *more)
        return [int(answer[0]) if isinstance(answer, list) else None for answer in answers]

    def put_and_ring(self, puts: Sequence[Put], *, here: bool) -> tuple[list[int | None], list[Ring]]:
        """Put several ranges in one round trip, and ring for a destination where no ring is under way.

        Args:
            puts: The ranges, in order.
            here: Whether the broker is this Redis too, so that the store rings in the same step.

        Returns:
            What ``put`` does, and the doorbells that the caller has to send.
        """
        calls = [
            (
                put.slot_name,
                {**put.arguments, "queue": put.destination},
                [*put.data, template(put.destination, put.slot)],
            )
            if here
            else (put.slot_name, put.arguments, put.data)
            for put in puts
        ]
        answers = self._scripts.call_many(script.PUT, calls)
        positions = [int(answer[0]) if isinstance(answer, list) else None for answer in answers]
        return positions, [put.ring for put, answer in zip(puts, answers, strict=True) if answer == _RING]

    def restore(self, put: Put) -> int | None:
        """Put events that were dead letters in a file, and are dead no longer. Returns what ``put`` does."""
        arguments = {**put.arguments, "restored": True}
        answer = self._scripts.call(script.PUT, put.slot_name, arguments, *put.data)
        return int(answer[0]) if isinstance(answer, list) else None

    def progress(
        self, destinations: Sequence[str], journal: str, *, slots: Mapping[str, int] = MappingProxyType({})
    ) -> dict[str, Progress]:
        """How far a journal has come at each destination; forgotten a week after the last call of this or ``put``.

        Args:
            destinations: Which ones.
            journal: Its name.
            slots: The slot of each destination in which the journal is, or is to be if it is in none; 0 for the others.
                It counts as in use from now on.

        Returns:
            By destination, how far it has come, and in which slot: that is where it is to be put.
        """
        wanted = {name: slots[name] for name in destinations if slots.get(name)}
        calls: list[Call] = [
            (name, {"journal": journal, "slot": wanted[name]} if name in wanted else {"journal": journal}, ())
            for name in destinations
        ]
        calls += [(slot_name(name, slot), {"journal": journal}, ()) for name, slot in wanted.items()]
        answers = self._scripts.call_many(script.PROGRESS, calls)
        first = dict(zip(destinations, answers, strict=False))
        found = {name: [Progress(int(answer[0]), int(answer[1]))] for name, answer in first.items()}
        in_use = {name: read_slots(answer[2:]) for name, answer in first.items()}
        for (name, slot), answer in zip(wanted.items(), answers[len(destinations) :], strict=True):
            found[name].append(Progress(int(answer[0]), int(answer[1]), slot))
            if slot not in in_use[name]:
                self._open_slot(name, slot)
        # It may be in a slot that it would not get today, since it keeps that as long as it exists.
        others = [
            (name, slot)
            for name, slots_of_name in in_use.items()
            if all(one.put < 0 for one in found[name])
            for slot in slots_of_name[1:]
            if slot != wanted.get(name)
        ]
        calls = [(slot_name(name, slot), {"journal": journal}, ()) for name, slot in others]
        for (name, slot), answer in zip(others, self._scripts.call_many(script.PROGRESS, calls), strict=True):
            found[name].append(Progress(int(answer[0]), int(answer[1]), slot))
        # The last one that is the furthest: the slot that is wanted, if no slot knows the journal.
        return {
            name: max(reversed(of_name), key=lambda one: (one.put, one.slot == wanted.get(name, 0)))
            for name, of_name in found.items()
        }

    def _open_slot(self, destination: str, slot: int) -> None:
        """Note that a slot is in use, so that bells and commands look into it. It is paused where slot 0 is."""
        # Both before it is used and after it is noted: somebody may pause the destination in between.
        for arguments in ({}, {"slot": slot}):
            pause = self._scripts.call(script.OPEN_SLOT, destination, arguments)
            pause = [part.decode("utf-8", "replace") for part in pause]
            self._scripts.call(script.FOLLOW_PAUSE, slot_name(destination, slot), {"pause": pause})

    def claim(
        self,
        destination: str,
        batch_id: str,
        *,
        token: str,
        lease_seconds: float,
        spread_seconds: float = 0.0,
        slot: int = 0,
    ) -> Claim | BreakerOpen | Paused | Damaged | str:
        """Claim one batch for ``lease_seconds``, and no other. Answers a doorbell, and rings for nothing.

        Args:
            destination: The one that the batch is for.
            batch_id: The name of the batch.
            token: A name for this claim, which no other claim has.
            lease_seconds: After which another worker may claim it.
            spread_seconds: As ``claim_all`` takes it.
            slot: The destination's slot in which it is.

        Returns:
            The claim, or what keeps the batch from being claimed, which may be one word: claimed, parked or settled.
        """
        arguments = _claim_arguments(batch_id, token, lease_seconds, spread_seconds) | {"alone": True}
        found = self._claim(destination, slot, token, arguments)
        if isinstance(found, Claimed):
            return found.claims[0] if found.claims else found.damaged[0]
        return found

    def claim_all(
        self,
        destination: str,
        batch_id: str,
        *,
        token: str,
        lease_seconds: float,
        spread_seconds: float = 0.0,
        limits: JoinLimits | None = None,
        slot: int = 0,
        here: bool = False,
    ) -> Claimed | BreakerOpen | Paused | str:
        """Answer a doorbell: claim its batch for ``lease_seconds``, and others of the slot together with it.

        Where the batch is gone, the one is claimed that has waited longest. The others are those that wait or are due,
        the oldest first; a batch over which a lease was lost always comes alone. Where something still waits after
        that, the doorbell rings for the next place.

        Args:
            destination: The one that the batch is for.
            batch_id: The batch of the doorbell.
            token: A name for this claim, which no other claim has.
            lease_seconds: After which another worker may claim what was claimed.
            spread_seconds: By how much longer the lease is where leases were lost over the batch; random, so that it
                does not end again at the same time as another that was lost together with it.
            limits: What all of them may have together; None for one batch only.
            slot: The destination's slot that the doorbell is for.
            here: Whether the broker is this Redis too, so that the store rings in the same step.

        Returns:
            What was claimed. A batch over which several leases in a row were lost comes as a part only: a half, then a
            half of that, until the event is found that does it. Or what keeps all from being claimed, which may be one
            word of the batch: claimed, parked or settled.
        """
        arguments = _claim_arguments(batch_id, token, lease_seconds, spread_seconds)
        if limits is not None:
            arguments |= {"events": limits.events, "bytes": limits.bytes}
        return self._claim(destination, slot, token, arguments, here=here)

    def _claim(
        self, destination: str, slot: int, token: str, arguments: dict[str, Any], *, here: bool = False
    ) -> Claimed | BreakerOpen | Paused | str:
        message = [template(destination, slot)] if here else []
        if here:
            arguments["queue"] = destination
        word, *answer = self._scripts.call(script.CLAIM, slot_name(destination, slot), arguments, *message)
        if word == b"paused":
            return Paused(int(answer[0]) or None, (answer[1] or b"").decode())
        if word == b"breaker open":
            return BreakerOpen(int(answer[0]), (answer[1] or b"").decode())
        if not answer:
            return str(word.decode())
        claims: list[Claim] = []
        damaged: list[Damaged] = []
        for row in answer[1:]:
            packed, count = row[1], int(row[2])
            try:
                claims.append(Claim.from_row(destination, token, row, unpack(packed, count), slot=slot))
            except BatchDamagedError as error:
                claim = Claim.from_row(destination, token, row, (), slot=slot)
                damaged.append(self._settle_damaged(claim, packed or b"", count, str(error)))
        return Claimed(claims, damaged, _ring_of(destination, slot, answer[0]))

    def _settle_damaged(self, claim: Claim, packed: bytes, count: int, damage: str) -> Damaged:
        error = f"the batch {claim.batch_id} of {count} events is damaged in Redis: {damage}"
        # A dead letter for each event, so that the ledger closes. Which bytes belonged to which event is unknown.
        first = DeadEvent(DAMAGED, f"{error}; what was there is kept here", packed[:_MAX_DAMAGED_BYTES])
        others = DeadEvent(DAMAGED, f"{error}; what was there is kept in the first of its letters", b"")
        dead = [first, *[others] * (count - 1)] if count else []
        self.settle(claim, Settlement(dead=dead, error=error))
        return Damaged(count, error)

    def settle(self, claim: Claim, settlement: Settlement) -> Settled | None:
        """Record what became of a batch. Rings for nothing.

        Returns:
            What it did to the breaker; None where the lease was lost: then nothing was recorded.
        """
        arguments, data = settlement.arguments(claim), settlement.data(claim)
        command = script.SETTLE_POSTED if settlement.posted else script.SETTLE
        answer = self._scripts.call(command, slot_name(claim.destination, claim.slot), arguments, *data)
        return None if answer is None else Settled(answer[0].decode())

    def settle_all(
        self, settlements: Sequence[tuple[Claim, Settlement]], *, here: bool = False
    ) -> list[Settled | None]:
        """Record what became of batches that were claimed together, each in a step of its own, in one round trip.

        The last step rings for the next place where something waits for the destination and no ring is under way.

        Args:
            settlements: The batches, all of one slot. Only one of them should say something to the breaker.
            here: Whether the broker is this Redis too, so that the store rings in the same step.

        Returns:
            For each batch, what ``settle`` does. The last one may have a doorbell that the caller has to send.
        """
        calls: list[Call] = []
        for index, (claim, settlement) in enumerate(settlements, 1):
            arguments, data = settlement.arguments(claim), settlement.data(claim)
            if index == len(settlements):
                arguments["rings"] = True
                if here:
                    arguments["queue"] = claim.destination
                    data.append(template(claim.destination, claim.slot))
            calls.append((slot_name(claim.destination, claim.slot), arguments, data))
        # The longer script is for destinations whose events wait for pages.
        has_posted = any(settlement.posted for _, settlement in settlements)
        answers = self._scripts.call_many(script.SETTLE_POSTED if has_posted else script.SETTLE, calls)
        name, slot = settlements[0][0].destination, settlements[0][0].slot
        return [
            None if answer is None else Settled(answer[0].decode(), _ring_of(name, slot, (*answer, None)[1]))
            for answer in answers
        ]

    def due(self, destination: str, *, idle: bool | None, every_seconds: float = 1.0, slot: int = 0) -> Ring | None:
        """Find the doorbell to ring now: where something waits, or is due, and no ring is under way, or one is lost.

        Every worker asks, and one of them in ``every_seconds`` gets an answer.

        Args:
            destination: The one to ring for.
            idle: Whether the Celery queue is empty, so that a ring of a few seconds ago is lost. None where the broker
                is this Redis too: then the store sees for itself, and rings in the same step.
            every_seconds: All others get None for so long.
            slot: The destination's slot to look into.

        Returns:
            The doorbell that the caller has to send; None where nothing is to be rung for, or it was sent.
        """
        arguments: dict[str, Any] = {"every_ms": int(every_seconds * 1000)}
        arguments |= {"queue": destination} if idle is None else {"idle": idle}
        message = [template(destination, slot)] if idle is None else []
        return _ring_of(
            destination, slot, self._scripts.call(script.DUE, slot_name(destination, slot), arguments, *message)
        )

    def counts(self, destinations: Sequence[str]) -> dict[str, Counts]:
        """The ledger of each destination, all of its slots together. One round trip; two where it has several."""
        answers = self._scripts.call_many(script.COUNTS, [(name, {}, ()) for name in destinations])
        fields = {name: [read_fields(answer)] for name, answer in zip(destinations, answers, strict=True)}
        others = [(name, slot) for name, [one] in fields.items() for slot in read_slots(one["slots"].split())[1:]]
        calls: list[Call] = [(slot_name(name, slot), {}, ()) for name, slot in others]
        for (name, _), answer in zip(others, self._scripts.call_many(script.COUNTS, calls), strict=True):
            fields[name].append(read_fields(answer))
        return {name: Counts.from_fields(join_slots(of_name)) for name, of_name in fields.items()}


def _claim_arguments(batch_id: str, token: str, lease_seconds: float, spread_seconds: float) -> dict[str, Any]:
    return {
        "id": batch_id,
        "lease_ms": int(lease_seconds * 1000),
        "token": token,
        "spread_ms": int(spread_seconds * 1000),
    }


def _ring_of(destination: str, slot: int, row: list[Any] | None) -> Ring | None:
    """The doorbell that a script wants to be sent."""
    if not row:
        return None
    batch_id, count, attempts, example = row
    return Ring(
        destination=destination,
        batch_id=batch_id.decode(),
        count=int(count),
        attempts=int(attempts),
        example=example.decode(),
        slot=slot,
    )
