"""Retry: when an event that was not taken is tried again, and when that is given up."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dispatcher.config import RetrySettings


def pause_seconds(retry: RetrySettings, *, attempts: int, asked_seconds: float) -> float:
    """How long the events of a batch wait for the next try.

    Args:
        retry: The destination's settings.
        attempts: Failed tries before this one.
        asked_seconds: The least that the destination, or its rate, asked for; 0 for nothing.

    Returns:
        A random part of the backoff, and at least what was asked for. Full jitter spreads what failed together, as in
        https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/.
    """
    return max(asked_seconds, random.uniform(0, backoff_seconds(retry, attempts)))


def backoff_seconds(retry: RetrySettings, attempts: int) -> float:
    """The longest pause before the next try. The pause itself is a random part of it.

    Args:
        retry: The ``retry`` settings of the destination.
        attempts: How many tries have failed.

    Returns:
        Seconds: ``retry.first_seconds``, times ``retry.factor`` for each attempt, up to ``retry.max_seconds``.
    """
    # The exponent is bounded, since a factor to the power of a month's attempts would overflow.
    return min(retry.max_seconds, retry.first_seconds * retry.factor ** min(attempts, 64))


def is_expired(retry: RetrySettings, *, age_seconds: float) -> bool:
    """Whether an event that failed again becomes a dead letter instead of being tried once more.

    Args:
        retry: The ``retry`` settings of the destination.
        age_seconds: How long ago the event was put.
    """
    return retry.max_age_seconds != "never" and age_seconds >= retry.max_age_seconds
