"""Actions: what can happen in a history. Each has its own source of random choices, so that any may be left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any, Final

from dispatcher.event import EventType
from tests.simulator.crossings import Killed
from tests.simulator.destinations import Log
from tests.simulator.ground import DESTINATIONS, LOG, MOST_SLOTS
from tests.simulator.plan import Action, Setting
from tests.simulator.wire import Fault, Kind
from tests.simulator.workers import LEASE_SECONDS, Work
from tests.simulator.world import RelayProcess, WebProcess, World

# The most processes and relays at a time: more would only make histories longer.
_MOST_WEBS: Final = 3
_MOST_RELAYS: Final = 2

#: Names of events; a repeated name is more likely. Ground.settings says where they go, destinations what they do there.
_NAMES: Final = ("both.a",) * 6 + ("log.a",) * 4 + ("flip.a",) * 2 + ("poison.a", "filter.a", "broken.a")
_FAULTS: Final[tuple[Kind, ...]] = ("refused", "unanswered", "unanswered", "partial", "partial", "partial", "late")


def begin(world: World, setting: Setting) -> None:
    """Begin a history."""
    world.say(f"{setting}")
    if setting.has_relays:
        world.start_relay()
    _start_web(world, setting)


def play(world: World, setting: Setting, action: Action) -> None:
    """Play one action, if it is possible now."""
    world.happened[action.kind] += 1
    _ACTIONS[action.kind](world, setting, Random(action.seed))


def _start_web(world: World, setting: Setting) -> WebProcess | None:
    return world.start_web(journal_bytes=setting.journal_bytes, with_relay=setting.has_threads)


def _web(world: World, setting: Setting, random: Random) -> WebProcess | None:
    return random.choice(world.webs) if world.webs else _start_web(world, setting)


def _relay(world: World, setting: Setting, random: Random) -> RelayProcess:
    relays = world.all_relays
    return random.choice(relays) if relays else world.start_relay()


# Life


def _emit(world: World, setting: Setting, random: Random) -> None:
    web = _web(world, setting, random)
    if web is not None:
        for _ in range(random.choice((1, 1, 2, 3, 5, 8, 13))):
            world.emit(web, *_event(random, setting))


def _emit_mostly(world: World, setting: Setting, random: Random) -> None:
    """Usually emit, so that the following trouble meets events."""
    if random.random() < 0.7:
        _emit(world, setting, random)


def _event(random: Random, setting: Setting) -> tuple[EventType, str, Any]:
    size = min(random.choice((0, 10, 50, 200, 600)), setting.journal_bytes // 3)
    data: dict[str, Any] = {"padding": "x" * size}
    kind = random.random()
    if kind < 0.06:
        return "dead", "both.a", {"reason": "not_encodable", "error": "it holds a socket", "data": "x" * size}
    if kind < 0.10:
        return "dropped", "both.a", {"reason": "no robots"}
    if kind < 0.18:
        return "track", "direct.a", {"userId": "7", **data}
    return "event", random.choice(_NAMES), data


def _tidy(world: World, setting: Setting, random: Random) -> None:
    if world.webs:
        world.tidy(random.choice(world.webs))


def _step(world: World, setting: Setting, random: Random) -> None:
    world.step(_relay(world, setting, random))


def _step_all(world: World, setting: Setting, random: Random) -> None:
    for process in world.all_relays:
        world.step(process)


def _work(world: World, setting: Setting, random: Random) -> None:
    for name, batch_id in world.workers.take_doorbells(DESTINATIONS, random.choice((1, 2, 5))):
        works = world.workers.claim(name, batch_id, random)
        for work in works:
            world.workers.deliver(work, random)
        if works:
            world.workers.settle(works, random)


def _bell(world: World, setting: Setting, random: Random) -> None:
    if not world.store.is_down:
        for name in DESTINATIONS:
            world.workers.ring(name, idle=random.random() < 0.5)


def _moment(world: World, setting: Setting, random: Random) -> None:
    world.pass_time(random.choice((0.05, 0.1, 0.3, 0.3, 0.6)))


def _seconds(world: World, setting: Setting, random: Random) -> None:
    world.pass_time(random.choice((1.1, 1.1, 5, 11)))


def _start(world: World, setting: Setting, random: Random) -> None:
    if len(world.webs) < _MOST_WEBS:
        _start_web(world, setting)


# Troubles


def _end(world: World, setting: Setting, random: Random) -> None:
    if not world.webs:
        return
    web = random.choice(world.webs)
    if web.relay is not None:
        for _ in range(random.randrange(4)):  # Tracker.close flushes for a limited time
            world.step(web.relay)
    world.end_web(web, kill_at=random.randrange(10) if random.random() < 0.2 else None)


def _kill_web(world: World, setting: Setting, random: Random) -> None:
    if not world.webs:
        return
    web = random.choice(world.webs)
    how = random.random()
    if how < 0.6:
        while world.emit(web, *_event(random, setting), kill_at_line=_random_line(random, 40)):
            pass
    elif how < 0.7:
        world.tidy(web, kill_at_line=_random_line(random, 30))
    else:
        world.say(f"process {web.number} is killed")
        world.drop_web(web)


def _random_line(random: Random, limit: int) -> int:
    return random.randrange(1, limit)


def _kill_relay(world: World, setting: Setting, random: Random) -> None:
    _emit_mostly(world, setting, random)
    process = _relay(world, setting, random)
    process.wire.fraction_at_death = random.random()
    try:
        if random.random() < 0.75:
            world.step(process, kill_at=random.randrange(9))
        else:
            world.step(process, kill_at_line=_random_line(random, 300))
    except Killed:
        pass
    world.drop_relay(process)


def _start_relay(world: World, setting: Setting, random: Random) -> None:
    if len(world.relays) < _MOST_RELAYS:
        world.start_relay()


def _stop_relay(world: World, setting: Setting, random: Random) -> None:
    if world.relays:
        world.stop_relay(random.choice(world.relays))


def _fault(world: World, setting: Setting, random: Random) -> None:
    _emit_mostly(world, setting, random)
    process = _relay(world, setting, random)
    process.wire.fault = Fault(random.choice(_FAULTS), calls=random.randrange(3), fraction=random.random())
    world.say(f"{world.name(process)}: {process.wire.fault}")
    for _ in range(random.randrange(1, 4)):
        world.step(process)
        if random.random() < 0.3:
            _emit(world, setting, random)
    process.wire.fault = None


def _arrive(world: World, setting: Setting, random: Random) -> None:
    world.store.carry_out_late(random.randrange(8))


def _store_down(world: World, setting: Setting, random: Random) -> None:
    world.store.is_down = not world.store.is_down
    world.say(f"the store is {'down' if world.store.is_down else 'up again'}")


def _roll_back(world: World, setting: Setting, random: Random) -> None:
    at = random.randrange(100)
    world.store.roll_back(at, _server(world, random))


def _server(world: World, random: Random) -> int | None:
    """The slot whose server something happens to; None for all of Redis."""
    has_slots = any(version.slots > 1 for version in world.versions)
    return random.randrange(MOST_SLOTS) if has_slots and random.random() < 0.7 else None


def _wipe(world: World, setting: Setting, random: Random) -> None:
    world.store.wipe(_server(world, random))


def _week(world: World, setting: Setting, random: Random) -> None:
    world.store.pass_a_week()


def _lease(world: World, setting: Setting, random: Random) -> None:
    world.say("leases run out")
    world.pass_time(LEASE_SECONDS + 1)


def _claim(world: World, setting: Setting, random: Random) -> None:
    for name, batch_id in world.workers.take_doorbells(random.sample(DESTINATIONS, 2), 1):
        world.workers.claim(name, batch_id, random)


def _works(world: World, random: Random, *, delivered: bool) -> list[Work]:
    found = [work for work in world.workers.works if bool(work.outcomes) == delivered]
    random.shuffle(found)
    return found[:2]


def _deliver(world: World, setting: Setting, random: Random) -> None:
    for work in _works(world, random, delivered=False):
        world.workers.deliver(work, random)


def _settle(world: World, setting: Setting, random: Random) -> None:
    if random.random() < 0.3:
        world.workers.break_wire(Fault(random.choice(("refused", "unanswered", "late"))))
    for token in {work.claim.token: None for work in _works(world, random, delivered=True)}:
        together = [work for work in world.workers.works if work.outcomes and work.claim.token == token]
        world.workers.settle(together, random)
    world.workers.break_wire(None)


def _kill_worker(world: World, setting: Setting, random: Random) -> None:
    for work in random.sample(world.workers.works, min(2, len(world.workers.works))):
        log = world.destinations[LOG]
        if work.claim.destination == LOG and not work.outcomes and isinstance(log, Log):
            # During the append: the file has some whole lines of it.
            log.cut_short(work.claim, random)
        world.workers.works.remove(work)
        world.say(f"the worker of {work.claim.destination} is killed, its batch {work.outcomes or 'not delivered'}")


def _settings(world: World, setting: Setting, random: Random) -> None:
    change = random.choice(("flipped", "small", "late", "slots"))
    if change == "slots":
        number = random.randrange(1, MOST_SLOTS + 1)
        world.change_settings(lambda version: replace(version, slots=number))
    elif change == "late":
        world.change_settings(lambda version: replace(version, late=True))
    elif change == "small":
        world.change_settings(lambda version: replace(version, small=not version.small))
    else:
        world.change_settings(lambda version: replace(version, flipped=not version.flipped))


def _disk(world: World, setting: Setting, random: Random) -> None:
    world.ground.crossings.is_full = not world.ground.crossings.is_full
    world.fulls += world.ground.crossings.is_full
    world.say(f"the disk {'is full' if world.ground.crossings.is_full else 'has room again'}")


_Play = Callable[[World, Setting, Random], None]

_ACTIONS: Final[dict[str, _Play]] = {
    "emit": _emit,
    "tidy": _tidy,
    "step": _step,
    "step all": _step_all,
    "work": _work,
    "bell": _bell,
    "moment": _moment,
    "seconds": _seconds,
    "start": _start,
    "end": _end,
    "kill web": _kill_web,
    "kill relay": _kill_relay,
    "start relay": _start_relay,
    "stop relay": _stop_relay,
    "fault": _fault,
    "arrive": _arrive,
    "store down": _store_down,
    "roll back": _roll_back,
    "wipe": _wipe,
    "week": _week,
    "lease": _lease,
    "claim": _claim,
    "deliver": _deliver,
    "settle": _settle,
    "kill worker": _kill_worker,
    "settings": _settings,
    "disk": _disk,
}
