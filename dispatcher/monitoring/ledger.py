"""Ledger: for each destination, what was accepted and what has become of it; and what still waits in outboxes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dispatcher.outbox.damage import Damage, damage
from dispatcher.outbox.stats import OutboxSurvey, Surveyor
from dispatcher.store.batches import BatchStore
from dispatcher.store.counts import NOT_TAKEN, Counts

if TYPE_CHECKING:
    from dispatcher.config import Settings


# The way out where outboxes cannot be read, which hold what people did.
_READER: Final = "run this as the web app's user, or as a member of the directory's group if its mode is 2750"


@dataclass(frozen=True, slots=True)
class Ledger:
    """The counts of all events, at one time.

    Args:
        destinations: By name; "emit" stands for events that emit could not take, and that no destination has seen.
        outboxes: Those of this machine.
        damage: Pieces of this machine's journals that were not whole events, and were set aside.
        problem: Why this machine's outboxes cannot be read, as by a user without the right to: then none is here,
            though events may wait in them. Empty if they can.
    """

    destinations: Mapping[str, Counts]
    outboxes: tuple[OutboxSurvey, ...]
    damage: Damage = field(default_factory=lambda: Damage(0, 0))
    problem: str = ""

    @property
    def in_outboxes(self) -> int:
        """Events of this machine that are not in the batch store yet."""
        return sum(outbox.waiting for outbox in self.outboxes)

    @property
    def unreadable(self) -> tuple[OutboxSurvey, ...]:
        """Outboxes that cannot be read, in which more events may wait than are counted."""
        return tuple(outbox for outbox in self.outboxes if outbox.problem)

    @property
    def unread(self) -> str:
        """Which outboxes could not be read and why, in a sentence with the way out; empty if all could."""
        if self.problem:
            return self.problem
        unreadable = self.unreadable
        if not unreadable:
            return ""
        more = f" and {len(unreadable) - 1} more" if len(unreadable) > 1 else ""
        return f"the outbox {unreadable[0].name}{more} cannot be read: {unreadable[0].problem}; {_READER}"

    @property
    def waiting(self) -> int:
        """Events in outboxes, and deliveries in the store, that are still to come. Not those that wait for a page."""
        return self.in_outboxes + sum(counts.in_batches for counts in self.destinations.values())


def take_ledger(settings: Settings, store: BatchStore) -> Ledger:
    """Count now. Blocks for one round trip to Redis, and reads the headers of what waits in outboxes.

    Raises:
        StoreUnavailableError: Redis does not answer.
    """
    # Outboxes first: an event that moves on in between is then counted twice rather than not at all.
    local = take_local_ledger(Surveyor(settings.outbox_directory), settings.outbox_directory)
    return replace(local, destinations=store.counts(served(settings)))


def take_local_ledger(surveyor: Surveyor, root: Path) -> Ledger:
    """Count what is in the outboxes of this machine, without any destination. Reads the disk; raises nothing.

    Args:
        surveyor: Of ``root``; it counts finished files once.
        root: The directory of the outboxes. That it cannot be read is the ledger's ``problem``: what is in Redis can be
            shown all the same.
    """
    try:
        return Ledger({}, tuple(surveyor.look()), damage(root))
    except OSError as error:
        why = f"the outboxes in {root} cannot be read: {error.strerror or type(error).__name__}; {_READER}"
        return Ledger({}, (), problem=why)


def served(settings: Settings) -> list[str]:
    """The names in the ledger: every destination that workers deliver to, and "emit" for what emit could not take."""
    return [*settings.served_destinations, NOT_TAKEN]
