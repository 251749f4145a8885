"""Store: the Redis of a history, which can be down, forget its data, or carry out commands late."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dispatcher.connections.redis_pool import Command
from dispatcher.outbox import find_outboxes
from dispatcher.store.batches import BatchStore
from dispatcher.store.counts import NOT_TAKEN, Counts
from dispatcher.store.keys import DEAD, prefix
from dispatcher.store.slots import slot_name
from tests.simulator.destinations import event_id
from tests.simulator.ground import DESTINATIONS, MOST_SLOTS
from tests.simulator.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.simulator.world import World

WEEK_SECONDS: Final = 7 * 24 * 3600.0
# What a Redis with `appendfsync everysec` may lose at most, and how many snapshots of that time are kept.
LOST_SECONDS: Final = 2.0
_SNAPSHOTS: Final = 7


class Store:
    """The Redis of one history."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._wire = Wire(world, world.ground.line)
        self._batches = BatchStore(self._wire, clock=world.clock.time)
        self.is_down = False
        #: Commands that were sent and are not carried out yet.
        self.late: list[list[Command]] = []
        # (time, database), the oldest first.
        self.snapshots: list[tuple[float, int]] = []
        #: How often it has lost something.
        self.losses = 0
        #: Journals that it forgot after a week.
        self.forgotten: set[str] = set()
        #: Dead letters, and journals already deleted, at the time when it was wiped.
        self.dead_letters_wiped: set[tuple[str, str]] = set()
        self.gone_at_wipe: set[str] = set()

    def counts(self, destinations: Sequence[str]) -> dict[str, Counts]:
        """The ledger of each destination."""
        return self._batches.counts(destinations)

    def take_snapshot(self) -> None:
        """Keep a copy of its present contents, to go back to."""
        self.snapshots = [one for one in self.snapshots if one[0] > self._world.clock.now - LOST_SECONDS]
        used = {database for _, database in self.snapshots}
        free = [database for database in range(1, _SNAPSHOTS + 1) if database not in used]
        if free:
            self._world.ground.copy(0, free[0])
            self.snapshots.append((self._world.clock.now, free[0]))

    def roll_back(self, at: int, slot: int | None = None) -> None:
        """Redis loses its last moments: it goes back to one of the snapshots. Of a cluster, the server of one slot."""
        recent = [one for one in self.snapshots if one[0] > self._world.clock.now - LOST_SECONDS]
        if not recent:
            return
        when, database = recent[at % len(recent)]
        whose = "" if slot is None else f" in slot {slot}"
        self._world.say(f"Redis loses its last {self._world.clock.now - when:.2f} s{whose}")
        self.losses += 1
        self._world.ground.copy(database, 0, slot)
        # What was on the disk then cannot be lost any more.
        self.snapshots = [(when, database)] if slot is None else []

    def wipe(self, slot: int | None = None) -> None:
        """Redis loses everything. Of a cluster, the server of one slot does."""
        self._world.say("Redis comes back empty" if slot is None else f"the server of slot {slot} comes back empty")
        self.losses += 1
        for name in (*DESTINATIONS, NOT_TAKEN):
            self.dead_letters_wiped |= {(name, one) for one in self.dead_letters(name)}
        there = {directory.name for directory in find_outboxes(self._world.ground.root)}
        self.gone_at_wipe |= {event.journal for event in self._world.events.values()} - there
        self.snapshots = []
        if slot is None:
            self._world.ground.line.execute("FLUSHDB")
            return
        for name in (*DESTINATIONS, NOT_TAKEN):
            for key in self._world.ground.line.execute("KEYS", f"{prefix(slot_name(name, slot))}*"):
                self._world.ground.line.execute("DEL", key)

    def pass_a_week(self) -> None:
        """More than a week passes, in which only living relays ask for what they have put."""
        asked: set[str] = set()
        if not self.is_down:
            for process in self._world.all_relays:
                asked |= {reader.name for reader in process.readers if reader.state.settled < reader.state.position}
        self._world.clock.now += WEEK_SECONDS + 1
        self.snapshots = []
        for key in self._world.ground.line.execute("KEYS", "*:journal:*"):
            journal = key.decode().rpartition(":")[2]
            if journal not in asked:
                self._world.ground.line.execute("DEL", key)
                self.forgotten.add(journal)
        self._world.say(
            f"a week passes; forgotten: {', '.join(sorted(one[-6:] for one in self.forgotten)) or 'nothing'}"
        )

    def carry_out_late(self, at: int) -> None:
        """Carry out commands that arrive late."""
        if self.late:
            commands = self.late.pop(at % len(self.late))
            self._world.say(f"{len(commands)} late commands are carried out")
            self._wire.carry_out(commands)

    def dead_letters(self, destination: str) -> list[str]:
        """The ids of the events among a destination's dead letters."""
        streams = [DEAD.of(slot_name(destination, slot)) for slot in range(MOST_SLOTS)]
        answers = self._world.ground.line.execute_many([("XRANGE", stream, "-", "+") for stream in streams])
        return [event_id(fields[fields.index(b"event") + 1]) for found in answers for _, fields in found]
