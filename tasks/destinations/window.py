"""Window: batches that were put within the same stretch of time wait for its end, so that they are delivered together.

What waits is parked in the store, where every worker finds it; a claim then joins all that is due.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

from pydantic import Field

from dispatcher.outcomes import RetryAfter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatcher.destinations.base import Batch

# The longest wait: what waits takes memory in Redis.
_MAX_SECONDS: Final = 3600

#: Type of an option: how long a window is.
WindowSeconds: TypeAlias = Annotated[float, Field(ge=0, le=_MAX_SECONDS, allow_inf_nan=False)]


def wait_for_more(batches: Sequence[Batch], *, window_seconds: float, enough_bytes: int) -> RetryAfter | None:
    """What becomes of batches that had better wait for others; None where they are to be delivered now. Pure.

    Windows begin at multiples of their length, so that what is put in one is due at the same moment.

    Args:
        batches: What was claimed together.
        window_seconds: How long a window is. 0: nothing waits.
        enough_bytes: The size from which on nothing is waited for.
    """
    if window_seconds == 0 or sum(len(payload) for batch in batches for payload in batch.payloads) >= enough_bytes:
        return None
    left = min(_left_seconds(batch, window_seconds) for batch in batches)
    if left <= 0:
        return None
    return RetryAfter("waits for more events, to go with them: see wait_seconds", left, "rate_limited")


def _left_seconds(batch: Batch, window_seconds: float) -> float:
    """How long the batch's window still lasts, by the clock of the store that dated the batch."""
    end = (batch.put_at // window_seconds + 1) * window_seconds
    return end - batch.put_at - batch.waited_seconds
