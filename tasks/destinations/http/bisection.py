"""Bisection: a request that is refused for its contents is sent again in halves, so that only the bad events die."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from dispatcher.outcomes import DELIVERED, Dead, Outcome, RetryAfter

Item = TypeVar("Item")


def send_bisected(items: Sequence[Item], send: Callable[[Sequence[Item]], Outcome]) -> list[Outcome]:
    """Send items in one request, or in as many as it takes to find those that are refused.

    One bad item among n costs about 2·log2(n) more requests, and two where the destination says how many it took before
    that item. Once an outcome is to try again, nothing more is sent,
    because the same would happen to the rest.

    Args:
        items: The items of one request; at least one.
        send: Sends some of them in one request and returns the outcome of all of these.

    Returns:
        An outcome for each item, in order.
    """
    outcomes: dict[int, Outcome] = {}
    # Parts that are still to be sent, as start and end; the first one is last in the list.
    unsent = [(0, len(items))]
    stopped: RetryAfter | None = None
    while unsent:
        start, end = unsent.pop()
        outcome: Outcome = stopped if stopped is not None else send(items[start:end])
        if isinstance(outcome, Dead) and not outcome.whole and end - start > 1:
            taken = min(outcome.taken, end - start - 1)
            outcomes |= dict.fromkeys(range(start, start + taken), DELIVERED)
            # The one that it came to is asked for alone: what it says of it is believed of that one only.
            middle = start + taken + 1 if taken else (start + end) // 2
            start += taken
            unsent += [part for part in ((middle, end), (start, middle)) if part[0] < part[1]]
            continue
        if isinstance(outcome, RetryAfter):
            stopped = outcome
        outcomes |= dict.fromkeys(range(start, end), outcome)
    return [outcomes[position] for position in range(len(items))]
