"""Ledger: for each destination, what was accepted and what has become of it; and what still waits in outboxes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dispatcher.outbox.damage import Damage, damage
from dispatcher.outbox.stats import OutboxSurvey, survey
from dispatcher.store.batches import BatchStore
from dispatcher.store.counts import NOT_TAKEN, Counts

if TYPE_CHECKING:
    from dispatcher.config import Settings


@dataclass(frozen=True, slots=True)
class Ledger:
    """The counts of all events, at one time.

    Args:
        destinations: By name; "emit" stands for events that emit could not take, and that no destination has seen.
        outboxes: Those of this machine.
        damage: Pieces of this machine's journals that were not whole events, and were set aside.
    """

    destinations: Mapping[str, Counts]
    outboxes: tuple[OutboxSurvey, ...]
    damage: Damage = field(default_factory=lambda: Damage(0, 0))

    @property
    def in_outboxes(self) -> int:
        """Events of this machine that are not in the batch store yet."""
        return sum(outbox.waiting for outbox in self.outboxes)

    @property
    def unreadable(self) -> tuple[OutboxSurvey, ...]:
        """Outboxes that cannot be read, in which more events may wait than are counted."""
        return tuple(outbox for outbox in self.outboxes if outbox.problem)

    @property
    def waiting(self) -> int:
        """Events in outboxes, and deliveries in the store, that are still to come."""
        return self.in_outboxes + sum(counts.waiting for counts in self.destinations.values())


def take_ledger(settings: Settings, store: BatchStore) -> Ledger:
    """Count now. Blocks for one round trip to Redis, and reads the headers of what waits in outboxes.

    Raises:
        StoreUnavailableError: Redis does not answer.
    """
    # Outboxes first: an event that moves on in between is then counted twice rather than not at all.
    outboxes = tuple(survey(settings.outbox_directory))
    return Ledger(store.counts(served(settings)), outboxes, damage(settings.outbox_directory))


def served(settings: Settings) -> list[str]:
    """The names in the ledger: every destination that workers deliver to, and "emit" for what emit could not take."""
    return [*settings.served_destinations, NOT_TAKEN]
