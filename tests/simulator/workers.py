"""Workers: they ring bells, claim batches, deliver and settle them in a history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Final

import msgspec

from dispatcher.errors import StoreUnavailableError
from dispatcher.store.batches import BatchStore
from dispatcher.store.claim import Claim, Claimed, JoinLimits
from dispatcher.store.dead_event import DeadEvent
from dispatcher.store.doorbell import Ring
from dispatcher.store.keys import BELL
from dispatcher.store.settlement import Settlement
from dispatcher.store.slots import find_slots, slot_name, split_slot
from tests.simulator.destinations import Outcome, event_id
from tests.simulator.wire import Fault, Wire

if TYPE_CHECKING:
    from tests.simulator.world import World

LEASE_SECONDS: Final = 60.0
#: What a worker takes along beyond the batch of its doorbell: nothing, little, or all that waits.
_LIMITS: Final = (None, JoinLimits(events=4, bytes=1 << 20), JoinLimits(events=1000, bytes=1 << 20))
#: How many of the doorbells are lost that a worker sends for what it leaves.
_LOST_RINGS: Final = 0.2


@dataclass(slots=True)
class Work:
    """A batch that a worker has claimed, and the outcomes of its events once it was delivered."""

    claim: Claim
    outcomes: list[Outcome] = field(default_factory=list)


class Workers:
    """All workers of a history: they share one connection to the store.

    Args:
        world: The history, which has been set up so far as to have its clock and Redis.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._wire = Wire(world, world.ground.line)
        self._store = BatchStore(self._wire, clock=world.clock.time)
        self._tokens = 0
        #: The batches that are claimed and not settled.
        self.works: list[Work] = []

    def break_wire(self, fault: Fault | None) -> None:
        """What happens to the workers' next call; None repairs their connection."""
        self._wire.fault = fault

    def take_doorbells(self, destinations: Sequence[str], limit: int) -> list[tuple[str, str]]:
        """Take up to ``limit`` doorbells of each destination. Returns each destination and the word of its batch."""
        answers = self._world.ground.line.execute_many([("RPOP", name, limit) for name in destinations])
        found = zip(destinations, answers, strict=True)
        return [(name, _batch_of(message)) for name, messages in found for message in messages or ()]

    def ring(self, destination: str, *, idle: bool) -> list[str]:
        """A worker's bell rings for every slot that it knows of."""
        number = self._world.ground.version.slots
        slots = find_slots(self._world.ground.pool, {destination: number})[destination]
        return [word for slot in slots for word in self._ring(destination, slot, idle=idle)]

    def _ring(self, destination: str, slot: int, *, idle: bool) -> list[str]:
        # By the time of this real Redis it may have rung a moment ago.
        self._world.ground.line.execute("DEL", BELL.of(slot_name(destination, slot)))
        try:
            ring = self._store.due(destination, idle=idle, slot=slot)
        except (StoreUnavailableError, ValueError) as error:
            self._world.say(f"the bell of {destination} does not ring: {error}")
            self._world.problems.append(f"failed: {type(error).__name__} in a bell: {error}")
            return []
        if ring is None:
            return []
        self._world.ground.line.execute("LPUSH", destination, ring.word)
        self._world.say(f"the bell of {destination} rings for {short([ring.batch_id])}, slot {slot}")
        return [ring.word]

    def claim(self, destination: str, word: str, random: Random) -> list[Work]:
        """A worker answers a doorbell: it claims the batch, mostly others with it, and rings for what it leaves."""
        self._tokens += 1
        batch_id, slot = split_slot(word)
        limits, token = random.choice(_LIMITS), str(self._tokens)
        try:
            found = self._store.claim_all(
                destination, batch_id, token=token, lease_seconds=LEASE_SECONDS, limits=limits, slot=slot
            )
        except StoreUnavailableError as error:
            self._world.say(f"{destination}: {short([batch_id])} is not claimed: {error}")
            return []
        except (TypeError, ValueError) as error:
            self._world.problems.append(f"failed: {type(error).__name__} in a worker: {error}")
            return []
        if not isinstance(found, Claimed) or found.damaged:
            self._world.say(f"{destination}: {short([batch_id])} is {found}")
            return []
        works = [Work(claim) for claim in found.claims]
        self.works += works
        story = ", ".join(f"{short([claim.batch_id])} with {len(claim.payloads)} events" for claim in found.claims)
        self._world.say(f"{destination}: the bell for {short([batch_id])} is answered, claimed: {story}")
        self._send(destination, found.ring, random)
        return works

    def _send(self, destination: str, ring: Ring | None, random: Random) -> None:
        if ring is None:
            return
        if random.random() < _LOST_RINGS:
            self._world.say(f"{destination}: the ring for {short([ring.batch_id])} is lost")
            return
        self._world.ground.line.execute("LPUSH", destination, ring.word)
        self._world.say(f"{destination}: a worker rings for {short([ring.batch_id])}")

    def deliver(self, work: Work, random: Random, *, calm: bool = False) -> None:
        """A worker hands a batch to the destination."""
        destination = self._world.destinations[work.claim.destination]
        work.outcomes = destination.deliver(work.claim, random, calm=calm)
        if self._world.is_told:
            numbers = zip(work.claim.payloads, work.outcomes, strict=True)
            story = " ".join(f"{int(event_id(payload)[:8], 16):x}:{outcome}" for payload, outcome in numbers)
            self._world.say(f"{destination.name}: {short([work.claim.batch_id])} is delivered: {story}")

    def settle(self, works: Sequence[Work], random: Random) -> None:
        """A worker records the outcomes of batches that it has claimed together."""
        settlements = [(work.claim, _settlement(work, random)) for work in works]
        name, story = works[0].claim.destination, short(work.claim.batch_id for work in works)
        try:
            answers = self._store.settle_all(settlements)
        except StoreUnavailableError as error:
            self._world.say(f"{name}: {story} are not settled: {error}")
            return  # it tries again until its lease expires
        for work, settled in zip(works, answers, strict=True):
            self.works = [one for one in self.works if one is not work]
            what = "settled" if settled is not None else "lost: another has it"
            self._world.say(f"{name}: {short([work.claim.batch_id])} is {what}")
        last = answers[-1]
        self._send(name, None if last is None else last.ring, random)


def _batch_of(message: bytes) -> str:
    if not message.startswith(b"{"):
        return message.decode()  # from the simulated bell
    return str(msgspec.json.decode(msgspec.json.decode(message)["body"])[0][0])


def _settlement(work: Work, random: Random) -> Settlement:
    counted = Counter(work.outcomes)
    pairs = list(zip(work.claim.payloads, work.outcomes, strict=True))
    return Settlement(
        delivered=counted["delivered"],
        filtered={"consent": counted["filtered"]} if counted["filtered"] else {},
        dead=[DeadEvent("refused", "it is poison", payload) for payload, outcome in pairs if outcome == "dead"],
        left=[payload for payload, outcome in pairs if outcome == "retry"],
        due_ms=work.claim.claimed_ms + random.randrange(5000),
    )


def short(batch_ids: Iterable[str]) -> str:
    """Batches as the story names them: the end of the journal's name, and the position in it."""
    return ", ".join(f"{one.rpartition('-')[0][-6:]}@{int(one.rpartition('-')[2], 16)}" for one in batch_ids)
