"""The ledger: for each destination, what was accepted and what has become of it; and what still waits in outboxes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dispatcher.outbox.damage import Damage, damage
from dispatcher.outbox.stats import OutboxSurvey, survey
from dispatcher.store.batches import NOT_TAKEN, BatchStore, Counts

if TYPE_CHECKING:
    from dispatcher.config import Settings


@dataclass(frozen=True, slots=True)
class Ledger:
    """One look at everything. ``emit`` stands for what never got as far as a destination."""

    destinations: Mapping[str, Counts]
    outboxes: tuple[OutboxSurvey, ...]
    #: What of the journals of this machine was no whole event, and was set aside.
    damage: Damage = field(default_factory=lambda: Damage(0, 0))

    @property
    def in_outboxes(self) -> int:
        """Events that are in no batch store yet."""
        return sum(outbox.waiting for outbox in self.outboxes)

    @property
    def unreadable(self) -> tuple[OutboxSurvey, ...]:
        """Outboxes that cannot be read, in which more may wait than is counted."""
        return tuple(outbox for outbox in self.outboxes if outbox.problem)

    @property
    def waiting(self) -> int:
        """Events in outboxes, and deliveries in the store, that are still to come."""
        return self.in_outboxes + sum(counts.waiting for counts in self.destinations.values())


def take_ledger(settings: Settings, store: BatchStore) -> Ledger:
    """Look now. Outboxes first: what moves on in between is then seen twice rather than not at all.

    Raises:
        StoreUnavailableError: Redis does not answer.
    """
    outboxes = tuple(survey(settings.outbox_directory))
    return Ledger(store.counts(served(settings)), outboxes, damage(settings.outbox_directory))


def served(settings: Settings) -> list[str]:
    """The names that the ledger has: every destination that workers deliver to, and what emit could not take."""
    return [*(name for name, table in settings.destinations.items() if table.is_served), NOT_TAKEN]
