"""Healing: the end of every history. All faults end, and relays and workers run until nothing changes any more."""

from __future__ import annotations

from random import Random
from typing import Final

from dispatcher.outbox import find_outboxes
from dispatcher.store import keys
from dispatcher.store.slots import find_slots, slot_name, with_slot
from tests.simulator.ground import DESTINATIONS
from tests.simulator.workers import LEASE_SECONDS
from tests.simulator.world import RelayProcess, World

# Rounds of relays and workers after which all must be done, and steps of a relay that is behind.
_ROUNDS: Final = 40
_STEPS: Final = 200
# Longer than a relay waits before it asks the store again, or searches for outboxes of dead processes.
_ROUND_SECONDS: Final = 11.0
# Seconds after which a bell repeats any ring.
_BELL_SECONDS: Final = 601.0


def heal(world: World, random: Random) -> None:
    """Have everything arrive. What does not arrive is added to the world's problems."""
    world.say("everything is healed")
    world.store.is_down = world.ground.crossings.is_full = False
    while world.store.late:
        world.store.carry_out_late(0)
    for web in [web for web in world.webs if random.random() < 0.6]:
        if random.random() < 0.5:
            world.say(f"process {web.number} is killed")
            world.drop_web(web)
        else:
            world.end_web(web)
    if not world.relays:
        world.start_relay()
    world.workers.works.clear()
    for _ in range(_ROUNDS):
        if _round(world, random) and not _has_moved(world):
            break
    for web in list(world.webs):
        world.end_web(web)
    for _ in range(_ROUNDS):
        if _round(world, random) and not find_outboxes(world.ground.root):
            return
    world.problems.append("stuck: it does not come to rest")


def _round(world: World, random: Random) -> bool:
    """One round of all relays and workers. Returns whether nothing waited for workers."""
    world.clock.now += _ROUND_SECONDS
    for process in world.all_relays:
        _step(world, process)
    return not _work(world, random)


def _step(world: World, process: RelayProcess) -> None:
    for _ in range(_STEPS):
        world.step(process)
        if not process.relay.is_behind:
            return
    world.problems.append("stuck: a relay is behind for ever")


def _has_moved(world: World) -> bool:
    """Whether anything is not settled yet, or an outbox of a dead process is left."""
    alive = {web.outbox.directory for web in world.webs}
    if any(directory not in alive for directory in find_outboxes(world.ground.root)):
        return True
    return any(web.outbox.state.settled < web.outbox.position for web in world.webs)


def _waiting(world: World) -> dict[str, list[str]]:
    waiting: dict[str, list[str]] = {}
    for name, slots in find_slots(world.ground.pool, dict.fromkeys(DESTINATIONS, world.ground.version.slots)).items():
        answers = world.ground.line.execute_many(
            [("ZRANGE", keys.SINCE.of(slot_name(name, slot)), 0, -1) for slot in slots]
        )
        found = [with_slot(one.decode(), slot) for slot, ids in zip(slots, answers, strict=True) for one in ids]
        waiting |= {name: found} if found else {}
    return waiting


def _work(world: World, random: Random) -> bool:
    """Have workers take everything that waits. Returns whether anything did."""
    waiting = _waiting(world)
    if not waiting:
        return False
    world.clock.now += max(LEASE_SECONDS, _BELL_SECONDS)
    for name, batches in waiting.items():
        if not world.workers.ring(name, idle=True):
            world.problems.append(f"stuck: no bell of {name} rings for {len(batches)} batches")
        for batch_id in batches:
            works = world.workers.claim(name, batch_id, random)
            for work in works:
                world.workers.deliver(work, random, calm=True)
            if works:
                world.workers.settle(works, random)
    return True
