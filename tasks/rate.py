"""Rate: how fast a destination may be sent to. What keeps it is shared by all workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tasks.outcomes import Outcome


class Rate(Protocol):
    """Whose turn it is. Safe in threads; its methods may block for as long as Redis may take to answer."""

    def take(self, patience: float) -> float:
        """Seconds to wait before the next request; 0 for at once.

        The turn is taken if that is at most ``patience``; otherwise it is not, and nothing must be sent.
        """
        ...

    def heed(self, outcome: Outcome) -> None:
        """Learn from what became of a request: throttled ones slow the rate down, others bring it back by and by."""
        ...
