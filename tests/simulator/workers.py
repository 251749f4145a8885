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
from dispatcher.store.claim import Claim
from dispatcher.store.dead_event import DeadEvent
from dispatcher.store.keys import BELL
from dispatcher.store.settlement import Settlement
from dispatcher.store.slots import find_slots, slot_name, split_slot
from tests.simulator.destinations import Outcome, event_id
from tests.simulator.wire import Fault, Wire

if TYPE_CHECKING:
    from tests.simulator.world import World

LEASE_SECONDS: Final = 60.0


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

    def claim(self, destination: str, word: str) -> Work | None:
        """A worker answers a doorbell."""
        self._tokens += 1
        batch_id, slot = split_slot(word)
        token = str(self._tokens)
        try:
            found = self._store.claim(destination, batch_id, token=token, lease_seconds=LEASE_SECONDS, slot=slot)
        except StoreUnavailableError as error:
            self._world.say(f"{destination}: {short([batch_id])} is not claimed: {error}")
            return None
        except (TypeError, ValueError) as error:
            self._world.problems.append(f"failed: {type(error).__name__} in a worker: {error}")
            return None
        if not isinstance(found, Claim):
            self._world.say(f"{destination}: {short([batch_id])} is {found}")
            return None
        work = Work(found)
        self.works.append(work)
        self._world.say(f"{destination}: {short([batch_id])} is claimed, {len(found.payloads)} events")
        return work

    def deliver(self, work: Work, random: Random, *, calm: bool = False) -> None:
        """A worker hands a batch to the destination."""
        destination = self._world.destinations[work.claim.destination]
        work.outcomes = destination.deliver(work.claim, random, calm=calm)
        if self._world.is_told:
            numbers = zip(work.claim.payloads, work.outcomes, strict=True)
            story = " ".join(f"{int(event_id(payload)[:8], 16):x}:{outcome}" for payload, outcome in numbers)
            self._world.say(f"{destination.name}: {short([work.claim.batch_id])} is delivered: {story}")

    def settle(self, work: Work, random: Random) -> None:
        """A worker records the outcomes of a batch."""
        settlement = _settlement(work, random)
        try:
            settled = self._store.settle(work.claim, settlement)
        except StoreUnavailableError as error:
            self._world.say(f"{work.claim.destination}: {short([work.claim.batch_id])} is not settled: {error}")
            return  # it tries again until its lease expires
        self.works.remove(work)
        what = "settled" if settled is not None else "lost: another has it"
        self._world.say(f"{work.claim.destination}: {short([work.claim.batch_id])} is {what}")


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
