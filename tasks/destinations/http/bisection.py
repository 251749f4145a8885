"""Bisection: a request that is refused for its contents is sent again in halves: only the bad events are dead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from dispatcher.outcomes import Dead, Outcome, RetryAfter

Item = TypeVar("Item")


def send_bisected(items: Sequence[Item], send: Callable[[Sequence[Item]], Outcome]) -> list[Outcome]:
    """Send items in one request, or in as many as it takes to find those that are refused.

    One bad item among n costs about 2·log2(n) requests more. Once an answer asks to try again, nothing more is sent:
    the rest would fare the same.

    Args:
        items: What one request can hold; at least one.
        send: Sends them and gives one outcome for all of them; Dead where it is for their contents.

    Returns:
        An outcome for each item, in order.
    """
    outcomes: dict[int, Outcome] = {}
    # Parts still to be sent, the first one last.
    waiting = [(0, len(items))]
    stopped: RetryAfter | None = None
    while waiting:
        start, end = waiting.pop()
        outcome: Outcome = stopped if stopped is not None else send(items[start:end])
        if isinstance(outcome, Dead) and not outcome.whole and end - start > 1:
            middle = (start + end) // 2
            waiting += [(middle, end), (start, middle)]
            continue
        if isinstance(outcome, RetryAfter):
            stopped = outcome
        outcomes |= dict.fromkeys(range(start, end), outcome)
    return [outcomes[position] for position in range(len(items))]
