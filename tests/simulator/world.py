"""World: the processes, relays, workers and destinations of one history, and what is known of each event."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, Final

import msgspec

from dispatcher.connections.redis_pool import Command
from dispatcher.errors import OutboxError, StoreUnavailableError
from dispatcher.event import EventType
from dispatcher.outbox import Outbox, Reader, find_outboxes
from dispatcher.outbox.reader import _open as open_readers
from dispatcher.relay.relay import PutRefusedError, Relay
from dispatcher.store.batches import NOT_TAKEN, BatchStore, Claim, DeadEvent, Settlement, prefix
from dispatcher.wire import Envelope, encode_envelope
from tests.simulator.crossings import Killed
from tests.simulator.destinations import ById, Destination, Log, Outcome, event_id
from tests.simulator.ground import DESTINATIONS, HOOK, LATE, LOG, SEGMENT, Ground, Version
from tests.simulator.wire import Wire

LEASE_SECONDS: Final = 60.0
WEEK_SECONDS: Final = 7 * 24 * 3600.0
# What a Redis with `appendfsync everysec` may lose at the most, and how many moments of that are kept to go back to.
LOST_SECONDS: Final = 2.0
_SNAPSHOTS: Final = 7

_NO_CONTEXT: Final = msgspec.Raw(b"{}")


@dataclass(slots=True)
class Emitted:
    """One event.

    Args:
        type: Its type.
        name: Its name.
        journal: The outbox that took it.
        version: The oldest state of the settings, by its number, that a relay may have routed it by.
        losses: How often the store had lost something before.
        fulls: How often the disk had been full before, and was not any more.
        end: The position behind it in the journal.
        is_sure: Whether emit returned. One whose process was killed within it may be there or not.
    """

    type: EventType
    name: str
    journal: str
    version: int
    losses: int
    fulls: int
    end: int = 0
    is_sure: bool = True


@dataclass(slots=True)
class RelayProcess:
    """A relay: a thread of a web process, or a process of its own."""

    relay: Relay
    wire: Wire
    version: int

    @property
    def readers(self) -> list[Reader]:
        """Those that it has open."""
        return [outbox.reader for outbox in self.relay._outboxes]


@dataclass(slots=True)
class WebProcess:
    """A process that emits, with its relay thread where it has one."""

    number: int
    outbox: Outbox
    relay: RelayProcess | None = None


@dataclass(slots=True)
class Work:
    """A batch in a worker's hands, and what became of its events once it was delivered."""

    claim: Claim
    outcomes: list[Outcome] = field(default_factory=list)


class World:
    """One history as it goes. What it does is in ``actions``; what came of it is for ``judge`` to say."""

    def __init__(self, ground: Ground, version: Version, *, is_told: bool = False) -> None:
        ground.set_version(version)
        self.ground = ground
        self.clock = ground.clock
        self.is_told = is_told
        self.story: list[str] = []
        self.webs: list[WebProcess] = []
        self.relays: list[RelayProcess] = []
        self.works: list[Work] = []
        self.destinations: dict[str, Destination] = {
            LOG: Log(LOG),
            SEGMENT: ById(SEGMENT),
            HOOK: Destination(HOOK),
            LATE: Destination(LATE),
        }
        self.events: dict[str, Emitted] = {}
        self.refused = 0
        self.happened: Counter[str] = Counter()
        self.problems: list[str] = []
        self.versions: list[Version] = [version]
        self.is_store_down = False
        #: Commands that were sent and not carried out yet.
        self.late: list[list[Command]] = []
        # (when, database), the oldest first.
        self.snapshots: list[tuple[float, int]] = []
        #: Journals that the store forgot after a week; dead letters and journals that were there when it was wiped.
        self.forgotten: set[str] = set()
        self.letters_wiped: set[tuple[str, str]] = set()
        self.gone_at_wipe: set[str] = set()
        #: How often the store has lost something.
        self.losses = 0
        #: How often the disk of the outboxes was full.
        self.fulls = 0
        self._store_wire = Wire(self, ground.line)
        self.store = BatchStore(self._store_wire, clock=self.clock.time)
        self._made = 0
        self._tokens = 0

    def say(self, text: str) -> None:
        """Add to the story, where somebody reads it."""
        if self.is_told:
            self.story.append(f"{self.clock.now - 1_800_000_000:10.2f}  {text}")

    @property
    def fulls_over(self) -> int:
        """How often the disk was full and is not any more."""
        return self.fulls - self.ground.crossings.is_full

    # Time

    def pass_time(self, seconds: float) -> None:
        """Let time pass, with a snapshot of the store to go back to."""
        self.clock.now += seconds
        self.snapshots = [one for one in self.snapshots if one[0] > self.clock.now - LOST_SECONDS]
        used = {database for _, database in self.snapshots}
        free = [database for database in range(1, _SNAPSHOTS + 1) if database not in used]
        if free:
            self.ground.copy(0, free[0])
            self.snapshots.append((self.clock.now, free[0]))

    # Web processes

    def start_web(self, *, journal_bytes: int, with_relay: bool) -> WebProcess | None:
        """A process opens its outbox."""
        self._made += 1
        try:
            with self.ground.crossings.running():
                outbox = Outbox(self.ground.root, journal_bytes=journal_bytes, max_bytes=1 << 26, sync_seconds=1e9)
        except OutboxError as error:
            self.say(f"a process cannot open its outbox: {error.__cause__}")
            return None
        web = WebProcess(self._made, outbox)
        if with_relay:
            web.relay = self._new_relay(own=outbox.directory)
        self.webs.append(web)
        self.say(f"process {web.number} starts, {'with' if with_relay else 'without'} a relay: {outbox.name[-6:]}")
        return web

    def emit(self, web: WebProcess, type: EventType, name: str, data: Any, *, kill_at_line: int | None = None) -> bool:
        """Have a process emit. False where it is killed in the middle."""
        number = len(self.events) + self.refused
        one = f"{number:08x}-0000-7000-8000-000000000000"
        moment = _moment(self.clock.now)
        payload = encode_envelope(Envelope(one, type, name, moment, data, _NO_CONTEXT))
        oldest = min([each.version for each in self.all_relays], default=len(self.versions) - 1)
        self.events[one] = event = Emitted(type, name, web.outbox.name, oldest, self.losses, self.fulls_over)
        try:
            with self.ground.crossings.running(kill_at_line=kill_at_line):
                web.outbox.append(payload)
        except OutboxError as error:
            del self.events[one]
            self.refused += 1
            self.say(f"process {web.number} is refused {number:x} {name}: {error.__cause__}")
            if kill_at_line is None:
                return True
        except Killed:
            event.is_sure = False
        else:
            event.end = web.outbox.position
            self.say(f"process {web.number} emits {number:x} {name}, up to {web.outbox.position}")
            return True
        self.say(f"process {web.number} is killed while it emits {number:x} {name}")
        self.bury_web(web)
        return False

    def tidy(self, web: WebProcess, *, kill_at_line: int | None = None) -> None:
        """The journal thread of a process makes a spare file, and unmaps full ones."""
        try:
            with self.ground.crossings.running(kill_at_line=kill_at_line):
                web.outbox._files._tidy()
        except Killed:
            self.say(f"process {web.number} is killed in its journal thread")
            self.bury_web(web)

    def bury_web(self, web: WebProcess) -> None:
        """A process is gone, with its thread: the system closes its files."""
        self.webs.remove(web)
        web.outbox.abandon()
        if web.relay is not None:
            self._bury(web.relay)

    def end_web(self, web: WebProcess, *, kill_at: int | None = None) -> None:
        """A process ends in order, as Tracker.close does it; or is killed while it does."""
        try:
            with self.ground.crossings.running(kill_at=kill_at):
                if web.relay is not None:
                    web.relay.relay.close()
                web.outbox.close()
        except Killed:
            self.say(f"process {web.number} is killed while it ends")
            self.bury_web(web)
            return
        self.webs.remove(web)
        is_gone = not web.outbox.directory.exists()
        self.say(f"process {web.number} ends; its outbox {'is gone' if is_gone else 'stays'}")

    # Relays

    def start_relay(self) -> RelayProcess:
        """A relay of its own starts."""
        process = self._new_relay()
        self.relays.append(process)
        self.say(f"relay {id_of(self.relays, process)} starts")
        return process

    def step(self, process: RelayProcess, **kill: int | None) -> int:
        """One step of a relay. Raises Killed. What else it may raise, its loop takes; what it may not is a problem."""
        # Two steps are never at one moment.
        self.clock.now += 0.001
        put = 0
        try:
            with self.ground.crossings.running(**kill):
                put = process.relay.step()
            self.say(f"{self.name(process)} steps: {put} put")
        except (StoreUnavailableError, PutRefusedError, OSError) as error:
            self.say(f"{self.name(process)} steps: {error}")
        except Killed:
            self.say(f"{self.name(process)} is killed within a step")
            raise
        except Exception as error:  # the loop goes on, but nothing like this may happen
            self.say(f"{self.name(process)} fails: {error!r}")
            self.problems.append(f"failed: {type(error).__name__} in a relay: {error}")
        process.version = len(self.versions) - 1
        return put

    def bury_relay(self, process: RelayProcess) -> None:
        """A relay is gone: with its web process, or alone."""
        for web in self.webs:
            if web.relay is process:
                self.bury_web(web)
                return
        self.relays.remove(process)
        self._bury(process)

    def stop_relay(self, process: RelayProcess) -> None:
        """A relay of its own ends in order."""
        self.say(f"{self.name(process)} ends")
        self.relays.remove(process)
        with self.ground.crossings.running():
            process.relay.close()

    def name(self, process: RelayProcess) -> str:
        """What the story calls a relay."""
        for web in self.webs:
            if web.relay is process:
                return f"the relay of process {web.number}"
        return f"relay {id_of(self.relays, process)}"

    @property
    def all_relays(self) -> list[RelayProcess]:
        """All that run."""
        return [*self.relays, *(web.relay for web in self.webs if web.relay is not None)]

    def _new_relay(self, *, own: Path | None = None) -> RelayProcess:
        wire = Wire(self, self.ground.pool)
        store = BatchStore(wire, clock=self.clock.time)
        relay = Relay(self.ground.load(), own=own, store=store, clock=self.clock.monotonic)
        return RelayProcess(relay, wire, len(self.versions) - 1)

    def _bury(self, process: RelayProcess) -> None:
        # The system closes its files, which lets go of its locks; readers that it was about to open, too.
        process.relay.close()
        mine = {id(reader) for other in self.all_relays for reader in other.readers}
        for reader in tuple(open_readers):
            if id(reader) not in mine:
                reader.close()
        self._close_locks()

    def _close_locks(self) -> None:
        """Close what nobody has any more: a reader that was killed before it was one."""
        known = {reader._lock_fd for other in self.all_relays for reader in other.readers}
        for fd in [int(name) for name in os.listdir("/proc/self/fd")]:
            with suppress(OSError):  # that of the listing is closed by now
                path = os.readlink(f"/proc/self/fd/{fd}")
                if fd not in known and path.startswith(str(self.ground.root)) and path.endswith("/relay.lock"):
                    os.close(fd)

    # The store

    def roll_back(self, at: int) -> None:
        """Redis comes back without its last moments."""
        recent = [one for one in self.snapshots if one[0] > self.clock.now - LOST_SECONDS]
        if not recent:
            return
        when, database = recent[at % len(recent)]
        self.say(f"Redis loses its last {self.clock.now - when:.2f} s")
        self.losses += 1
        self.ground.copy(database, 0)
        # What was on the disk then is not lost any more.
        self.snapshots = [(when, database)]

    def wipe(self) -> None:
        """Redis comes back empty."""
        self.say("Redis comes back empty")
        self.losses += 1
        for name in (*DESTINATIONS, NOT_TAKEN):
            self.letters_wiped |= {(name, one) for one in self.letters(name)}
        there = {directory.name for directory in find_outboxes(self.ground.root)}
        self.gone_at_wipe |= {event.journal for event in self.events.values()} - there
        self.ground.line.execute("FLUSHDB")
        self.snapshots = []

    def pass_a_week(self) -> None:
        """More than a week passes, in which living relays ask for what they have put, and nobody else."""
        asked: set[str] = set()
        if not self.is_store_down:
            for process in self.all_relays:
                asked |= {reader.name for reader in process.readers if reader.state.settled < reader.state.position}
        self.clock.now += WEEK_SECONDS + 1
        self.snapshots = []
        for key in self.ground.line.execute("KEYS", "*:journal:*"):
            journal = key.decode().rpartition(":")[2]
            if journal not in asked:
                self.ground.line.execute("DEL", key)
                self.forgotten.add(journal)
        self.say(f"a week passes; forgotten: {', '.join(sorted(one[-6:] for one in self.forgotten)) or 'nothing'}")

    def carry_out_late(self, at: int) -> None:
        """Commands that were under way for long arrive."""
        if self.late:
            commands = self.late.pop(at % len(self.late))
            self.say(f"{len(commands)} commands that were under way are carried out")
            self._store_wire.carry_out(commands)

    def letters(self, destination: str) -> list[str]:
        """The events among a destination's dead letters."""
        found = self.ground.line.execute("XRANGE", f"{prefix(destination)}dead", "-", "+")
        return [event_id(fields[fields.index(b"event") + 1]) for _, fields in found]

    # Settings

    def change_settings(self, change: Callable[[Version], Version]) -> None:
        """Somebody writes the settings files."""
        version = change(self.ground.version)
        self.say(f"the settings are {version}")
        self.ground.set_version(version)
        self.versions.append(version)

    # Workers

    def doorbells(self, destinations: Sequence[str], most: int) -> list[tuple[str, str]]:
        """Up to so many doorbells of each destination, with the batches that they name: they are gone then."""
        answers = self.ground.line.execute_many([("RPOP", name, most) for name in destinations])
        found = zip(destinations, answers, strict=True)
        return [(name, _batch_of(message)) for name, messages in found for message in messages or ()]

    def ring(self, destination: str, *, idle: bool) -> list[str]:
        """A worker's bell rings."""
        # In this Redis' own time it may have rung a moment ago.
        self.ground.line.execute("DEL", f"{prefix(destination)}bell")
        try:
            found = [due.batch_id for due in self.store.due(destination, idle=idle)]
        except (StoreUnavailableError, ValueError) as error:
            self.say(f"the bell of {destination} does not ring: {error}")
            self.problems.append(f"failed: {type(error).__name__} in a bell: {error}")
            return []
        if found:
            self.ground.line.execute("LPUSH", destination, *found)
            self.say(f"the bell of {destination} rings for {short(found)}")
        return found

    def claim(self, destination: str, batch_id: str) -> Work | None:
        """A worker answers a doorbell."""
        self._tokens += 1
        try:
            found = self.store.claim(destination, batch_id, token=str(self._tokens), lease_seconds=LEASE_SECONDS)
        except StoreUnavailableError as error:
            self.say(f"{destination}: {short([batch_id])} is not claimed: {error}")
            return None
        except (TypeError, ValueError) as error:
            self.problems.append(f"failed: {type(error).__name__} in a worker: {error}")
            return None
        if not isinstance(found, Claim):
            self.say(f"{destination}: {short([batch_id])} is {found}")
            return None
        work = Work(found)
        self.works.append(work)
        self.say(f"{destination}: {short([batch_id])} is claimed, {len(found.payloads)} events")
        return work

    def deliver(self, work: Work, random: Random, *, calm: bool = False) -> None:
        """A worker hands a batch to the destination."""
        destination = self.destinations[work.claim.destination]
        work.outcomes = destination.deliver(work.claim, random, calm=calm)
        if self.is_told:
            numbers = zip(work.claim.payloads, work.outcomes, strict=True)
            story = " ".join(f"{int(event_id(payload)[:8], 16):x}:{outcome}" for payload, outcome in numbers)
            self.say(f"{destination.name}: {short([work.claim.batch_id])} is delivered: {story}")

    def settle(self, work: Work, random: Random) -> None:
        """A worker records what became of a batch."""
        settlement = _settlement(work, random)
        try:
            settled = self.store.settle(work.claim, settlement)
        except StoreUnavailableError as error:
            self.say(f"{work.claim.destination}: {short([work.claim.batch_id])} is not settled: {error}")
            return  # it goes on trying until its lease is over
        self.works.remove(work)
        what = "settled" if settled is not None else "lost: another has it"
        self.say(f"{work.claim.destination}: {short([work.claim.batch_id])} is {what}")

    def break_wire_of_workers(self, wire_fault: Any) -> None:
        """What becomes of the workers' next call."""
        self._store_wire.fault = wire_fault


def _batch_of(message: bytes) -> str:
    if not message.startswith(b"{"):
        return message.decode()  # the simulated bell's
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


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def short(batch_ids: Iterable[str]) -> str:
    """Batches as the story names them: the end of the journal's name, and the place in it."""
    return ", ".join(f"{one.rpartition('-')[0][-6:]}@{int(one.rpartition('-')[2], 16)}" for one in batch_ids)


def id_of(processes: list[RelayProcess], process: RelayProcess) -> int:
    """Where a process stands among those that run."""
    return next((at for at, other in enumerate(processes) if other is process), -1)
