"""Result: what a finished history lost, doubled or left behind, and which of these docs/guarantees.md permits.

Each permitted reason is named here as narrowly as possible; everything else is a problem. Power cuts of the outbox's
machine are not simulated: the losses that they may cause would be one more reason.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from dispatcher.event import DIRECT_TYPES
from dispatcher.routing import Router
from dispatcher.store.counts import NOT_TAKEN
from dispatcher.store.keys import BATCH, OPEN, SINCE, STATES
from tests.simulator.ground import DESTINATIONS, LATE, LOG, SEGMENT
from tests.simulator.world import Emitted, World

# The permitted reasons, in the words of docs/guarantees.md.
FORGOTTEN: Final = "twice: the store forgets how far a journal was put, a week after its last put"
WIPED_LETTERS: Final = "Redis is wiped: lost are dead letters"
WIPED_JOURNALS: Final = "Redis is wiped: lost is what the journals had let go of"
NOTHING_KEPT: Final = "outbox.keep_bytes is 0: lost is what the store loses"
NOT_NOTED: Final = "twice: notes are missing where the disk of the outbox was full, and the store lost what was put"

_LETTERS: Final = ("dead", "dropped")


@dataclass(slots=True)
class Result:
    """The result of one history.

    Args:
        problems: Each problem, as a kind and a story: ``lost: …``.
        permitted: The number of events lost or doubled for each permitted reason.
        emitted: Events that emit accepted.
        refused: Events that emit refused.
        log_doubled: Lines beyond the first of an event, permitted or not.
        again: Deliveries beyond the first to the destination that ignores ids.
        happened: How often each action was played.
    """

    problems: list[str] = field(default_factory=list)
    permitted: Counter[str] = field(default_factory=Counter)
    emitted: int = 0
    refused: int = 0
    log_doubled: int = 0
    again: int = 0
    happened: Counter[str] = field(default_factory=Counter)

    @property
    def holds(self) -> bool:
        """Whether there are no problems."""
        return not self.problems


def check(world: World) -> Result:
    """Compare what arrived with what was emitted."""
    result = Result(
        problems=list(dict.fromkeys(world.problems)),
        emitted=sum(event.is_sure for event in world.events.values()),
        refused=world.refused,
        happened=world.happened,
    )
    _check_arrival(world, result)
    _check_log(world, result)
    _check_ledger(world, result)
    _check_rest(world, result)
    return result


def _check_arrival(world: World, result: Result) -> None:
    routers = [world.ground.router(version) for version in world.versions]
    letters = {name: Counter(world.store.dead_letters(name)) for name in (*DESTINATIONS, NOT_TAKEN)}
    lost: dict[str, list[str]] = {}
    for one, event in world.events.items():
        if not event.is_sure:
            continue
        for name in _due(event, routers):
            at = world.destinations.get(name)
            if letters[name][one] or (at is not None and (at.has[one] or one in at.filtered)):
                continue
            excuse = _excuse_for_loss(world, one, event, name)
            if excuse is not None:
                result.permitted[excuse] += 1
            else:
                lost.setdefault(name, []).append(f"{int(one[:8], 16):x} {event.name} of {event.journal[-6:]}")
    for name, found in lost.items():
        what = "letters" if name == NOT_TAKEN or all(_is_letter(one) for one in found) else "lost"
        result.problems.append(f"{what}: {len(found)} at {name}: {'; '.join(found[:5])}")
    for name, found_letters in letters.items():
        twice = [one for one, n in found_letters.items() if n > 1]
        unexcused = [one for one in twice if not _is_forgotten(world, one)]
        result.permitted[FORGOTTEN] += len(twice) - len(unexcused)
        if unexcused:
            result.problems.append(f"twice: {len(unexcused)} dead letters at {name}")
    result.again = sum(n - 1 for n in world.destinations["hook"].has.values() if n > 1)


def _is_letter(story: str) -> bool:
    return "poison" in story or "broken" in story


def _due(event: Emitted, routers: list[Router]) -> list[str]:
    """The destinations that must have the event under all settings that may have routed it."""
    if event.type in _LETTERS:
        return [NOT_TAKEN] if event.type == "dead" else []
    routes = [set(router.route(event.name, event.type).destinations) for router in routers[event.version :]]
    return sorted(set.intersection(*routes))


def _excuse_for_loss(world: World, one: str, event: Emitted, name: str) -> str | None:
    if (name, one) in world.store.dead_letters_wiped:
        return WIPED_LETTERS
    if event.journal in world.store.gone_at_wipe:
        return WIPED_JOURNALS
    if world.store.losses == event.losses:
        return None
    return None if world.versions[-1].keeps else NOTHING_KEPT


def _is_forgotten(world: World, one: str) -> bool:
    return one in world.events and world.events[one].journal in world.store.forgotten


def _excuse_for_doubling(world: World, one: str) -> str | None:
    if _is_forgotten(world, one):
        return FORGOTTEN
    event = world.events[one]
    return NOT_NOTED if world.fulls > event.fulls and world.store.losses > event.losses else None


def _check_log(world: World, result: Result) -> None:
    twice = {one: n for one, n in world.destinations[LOG].has.items() if n > 1}
    result.log_doubled = sum(n - 1 for n in twice.values())
    excuses = {one: _excuse_for_doubling(world, one) for one in twice}
    result.permitted.update(excuse for excuse in excuses.values() if excuse is not None)
    unexcused = [one for one, excuse in excuses.items() if excuse is None]
    if unexcused:
        stories = [f"{int(one[:8], 16):x} of {world.events[one].journal[-6:]}" for one in unexcused[:5]]
        result.problems.append(f"doubled: {len(unexcused)} in the log: {'; '.join(stories)}")
    for name, destination in world.destinations.items():
        stray = [one for one in destination.has if not _may_have(world, name, one)]
        if stray:
            result.problems.append(f"stray: {len(stray)} at {name}")


def _may_have(world: World, name: str, one: str) -> bool:
    event = world.events.get(one)
    if event is None or event.type in _LETTERS:
        return False
    return name == SEGMENT or event.type not in DIRECT_TYPES


def _check_ledger(world: World, result: Result) -> None:
    names = [name for name in (*DESTINATIONS, NOT_TAKEN) if name != LATE or world.versions[-1].late]
    for name, counts in world.store.counts(names).items():
        if not counts.closes:
            result.problems.append(f"ledger: the sum of {name} is not right: {counts}")
        if counts.waiting:
            result.problems.append(f"ledger: {counts.waiting} still wait at {name}, in {counts.batches} batches")
        due = [event for event in world.events.values() if (event.type in _LETTERS) == (name == NOT_TAKEN)]
        most, least = len(due), sum(event.is_sure for event in due)
        if counts.accepted > most and not world.store.forgotten:
            result.problems.append(f"ledger: {name} accepted {counts.accepted} of {most}")
        if counts.accepted < least and not world.store.losses and name != LATE:
            result.problems.append(f"ledger: {name} accepted only {counts.accepted} of {least}")


def _check_rest(world: World, result: Result) -> None:
    line = world.ground.line
    for key in (BATCH, OPEN, *STATES, SINCE):
        left = line.execute("KEYS", key.of("*", "*") if key in (BATCH, OPEN) else key.of("*"))
        if left:
            result.problems.append(f"left: {len(left)} keys {key.name} in the store")
    there = [path.name for path in world.ground.root.iterdir() if path.is_dir() and path.name != "damaged"]
    if there:
        result.problems.append(f"left: {len(there)} directories: {', '.join(there)}")
    if (world.ground.root / "damaged").exists():
        result.problems.append("damaged: frames were set aside")
