"""Result: what a task says of its delivery, as Flower and the worker's log show it. Numbers and errors only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dispatcher.store.claim import Claim
from dispatcher.store.settlement import Settlement


@dataclass(frozen=True, slots=True)
class Result:
    """A delivery of one batch, or of several that were claimed together.

    Args:
        claims: The batches.
        settlements: What became of each.
    """

    claims: Sequence[Claim]
    settlements: Sequence[Settlement]

    @property
    def left(self) -> int:
        """How many events are parked, to be tried again."""
        return sum(len(settlement.left) for settlement in self.settlements)

    @property
    def due_ms(self) -> int:
        """When the first of these is tried again, in milliseconds since 1970."""
        return min(settlement.due_ms for settlement in self.settlements if settlement.left)

    @property
    def retry_text(self) -> str:
        """Why events are parked; with several batches, what became of all of them too."""
        parked = [settlement for settlement in self.settlements if settlement.left]
        why = next((one.error for one in parked if one.error), "") or parked[0].waits_for
        return why if len(self.claims) == 1 else f"{why} ({self})"

    def __str__(self) -> str:
        """As in "12 batches: 96 delivered, 2 dead, 4 parked"."""
        delivered = sum(settlement.delivered for settlement in self.settlements)
        dead = sum(len(settlement.dead) for settlement in self.settlements)
        posted = sum(len(settlement.posted) for settlement in self.settlements)
        waiting = f", {posted} wait for their pages" if posted else ""
        parked = f", {self.left} parked" if self.left else ""
        rest = sum(len(claim.rest) for claim in self.claims)
        following = f", {rest} of the batch come next" if rest else ""
        batches = f"{len(self.claims)} batches: " if len(self.claims) > 1 else ""
        return f"{batches}{delivered} delivered, {dead} dead{waiting}{parked}{following}"
