"""World: the processes, relays, workers and destinations of one history, and the facts about each event."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from dispatcher.errors import OutboxError, StoreUnavailableError
from dispatcher.event import EventType
from dispatcher.outbox import Outbox, Reader
from dispatcher.outbox.reader import _open as open_readers
from dispatcher.relay.relay import Relay
from dispatcher.relay.relayed_outbox import PutRefusedError
from dispatcher.store.batches import BatchStore
from dispatcher.wire import Envelope, encode_json
from tests.simulator.crossings import Killed
from tests.simulator.destinations import ById, Destination, Log
from tests.simulator.ground import HOOK, LATE, LOG, SEGMENT, Ground, Version
from tests.simulator.store import Store
from tests.simulator.wire import Wire
from tests.simulator.workers import Workers

_NO_CONTEXT: Final = msgspec.Raw(b"{}")


@dataclass(slots=True)
class Emitted:
    """One event.

    Args:
        type: Its type.
        name: Its name.
        journal: The outbox that took it.
        version: The index of the oldest settings that a relay may have routed it by.
        losses: How often the store had lost something before.
        fulls: How often the disk had been full before and had space again.
        end: The position after it in the journal.
        is_sure: Whether emit returned. An event whose process was killed within emit may be there or not.
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
        """The readers that it has open."""
        return [outbox.reader for outbox in self.relay._outboxes]


@dataclass(slots=True)
class WebProcess:
    """A process that emits, with its relay thread if it has one."""

    number: int
    outbox: Outbox
    relay: RelayProcess | None = None


class World:
    """One history while it is played. What happens in it is in ``actions``; ``result`` checks how it ended."""

    def __init__(self, ground: Ground, version: Version, *, is_told: bool = False) -> None:
        ground.set_version(version)
        self.ground = ground
        self.clock = ground.clock
        self.is_told = is_told
        self.story: list[str] = []
        self.webs: list[WebProcess] = []
        self.relays: list[RelayProcess] = []
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
        #: How often the disk of the outboxes was full.
        self.fulls = 0
        self.store = Store(self)
        self.workers = Workers(self)
        self._started = 0

    def say(self, text: str) -> None:
        """Add to the story, if it is to be read."""
        if self.is_told:
            self.story.append(f"{self.clock.now - 1_800_000_000:10.2f}  {text}")

    @property
    def fulls_over(self) -> int:
        """How often the disk was full and has space again."""
        return self.fulls - self.ground.crossings.is_full

    # Time

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and keep a snapshot of the store to go back to."""
        self.clock.now += seconds
        self.store.take_snapshot()

    # Web processes

    def start_web(self, *, journal_bytes: int, with_relay: bool) -> WebProcess | None:
        """A process opens its outbox."""
        self._started += 1
        try:
            with self.ground.crossings.running():
                outbox = Outbox(self.ground.root, journal_bytes=journal_bytes, max_bytes=1 << 26, sync_seconds=1e9)
        except OutboxError as error:
            self.say(f"a process cannot open its outbox: {error.__cause__}")
            return None
        web = WebProcess(self._started, outbox)
        if with_relay:
            web.relay = self._new_relay(own=outbox.directory)
        self.webs.append(web)
        self.say(f"process {web.number} starts, {'with' if with_relay else 'without'} a relay: {outbox.name[-6:]}")
        return web

    def emit(self, web: WebProcess, type: EventType, name: str, data: Any, *, kill_at_line: int | None = None) -> bool:
        """Have a process emit. Returns False if it is killed during the emit."""
        number = len(self.events) + self.refused
        one = f"{number:08x}-0000-7000-8000-000000000000"
        moment = _moment(self.clock.now)
        payload = encode_json(Envelope(one, type, name, moment, data, _NO_CONTEXT))
        oldest = min([each.version for each in self.all_relays], default=len(self.versions) - 1)
        self.events[one] = event = Emitted(type, name, web.outbox.name, oldest, self.store.losses, self.fulls_over)
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
        self.drop_web(web)
        return False

    def tidy(self, web: WebProcess, *, kill_at_line: int | None = None) -> None:
        """The journal thread of a process makes a spare file, and unmaps full ones."""
        try:
            with self.ground.crossings.running(kill_at_line=kill_at_line):
                web.outbox._files._tidy()
        except Killed:
            self.say(f"process {web.number} is killed in its journal thread")
            self.drop_web(web)

    def drop_web(self, web: WebProcess) -> None:
        """Remove a process that has died with its threads: the system closes its files."""
        self.webs.remove(web)
        web.outbox.abandon()
        if web.relay is not None:
            self._drop(web.relay)

    def end_web(self, web: WebProcess, *, kill_at: int | None = None) -> None:
        """A process ends like Tracker.close, or is killed while it ends."""
        try:
            with self.ground.crossings.running(kill_at=kill_at):
                if web.relay is not None:
                    web.relay.relay.close()
                web.outbox.close()
        except Killed:
            self.say(f"process {web.number} is killed while it ends")
            self.drop_web(web)
            return
        self.webs.remove(web)
        is_gone = not web.outbox.directory.exists()
        self.say(f"process {web.number} ends; its outbox {'is gone' if is_gone else 'stays'}")

    # Relays

    def start_relay(self) -> RelayProcess:
        """A relay starts in a process of its own."""
        process = self._new_relay()
        self.relays.append(process)
        self.say(f"relay {id_of(self.relays, process)} starts")
        return process

    def step(self, process: RelayProcess, **kill: int | None) -> int:
        """One step of a relay. Raises Killed. Errors that its loop expects go to the story, others are problems."""
        # Two steps never happen at the same time.
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
        except Exception as error:  # the loop would go on, but this must not happen
            self.say(f"{self.name(process)} fails: {error!r}")
            self.problems.append(f"failed: {type(error).__name__} in a relay: {error}")
        process.version = len(self.versions) - 1
        return put

    def drop_relay(self, process: RelayProcess) -> None:
        """Remove a relay that has died, with its web process or alone."""
        for web in self.webs:
            if web.relay is process:
                self.drop_web(web)
                return
        self.relays.remove(process)
        self._drop(process)

    def stop_relay(self, process: RelayProcess) -> None:
        """A relay in a process of its own ends normally."""
        self.say(f"{self.name(process)} ends")
        self.relays.remove(process)
        with self.ground.crossings.running():
            process.relay.close()

    def name(self, process: RelayProcess) -> str:
        """The name of a relay in the story."""
        for web in self.webs:
            if web.relay is process:
                return f"the relay of process {web.number}"
        return f"relay {id_of(self.relays, process)}"

    @property
    def all_relays(self) -> list[RelayProcess]:
        """All running relays."""
        return [*self.relays, *(web.relay for web in self.webs if web.relay is not None)]

    def _new_relay(self, *, own: Path | None = None) -> RelayProcess:
        wire = Wire(self, self.ground.pool)
        store = BatchStore(wire, clock=self.clock.time)
        relay = Relay(self.ground.load(), own=own, store=store, clock=self.clock.monotonic)
        return RelayProcess(relay, wire, len(self.versions) - 1)

    def _drop(self, process: RelayProcess) -> None:
        # The system closes its files, which releases its locks; also those of readers that it was about to open.
        process.relay.close()
        mine = {id(reader) for other in self.all_relays for reader in other.readers}
        for reader in tuple(open_readers):
            if id(reader) not in mine:
                reader.close()
        self._close_locks()

    def _close_locks(self) -> None:
        """Close the lock of a reader that was killed during its construction."""
        known = {reader._lock_fd for other in self.all_relays for reader in other.readers}
        for fd in [int(name) for name in os.listdir("/proc/self/fd")]:
            with suppress(OSError):  # the descriptor of the listing is closed by now
                path = os.readlink(f"/proc/self/fd/{fd}")
                if fd not in known and path.startswith(str(self.ground.root)) and path.endswith("/relay.lock"):
                    os.close(fd)

    # Settings

    def change_settings(self, change: Callable[[Version], Version]) -> None:
        """Someone writes the settings files."""
        version = change(self.ground.version)
        self.say(f"the settings are {version}")
        self.ground.set_version(version)
        self.versions.append(version)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def id_of(processes: list[RelayProcess], process: RelayProcess) -> int:
    """The index of a process among the running ones."""
    return next((at for at, other in enumerate(processes) if other is process), -1)
