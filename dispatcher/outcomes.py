"""Outcomes: the closed set of what can become of an event at a destination. Each event has one, not each batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

#: Why an event is to be tried again. transient: the destination did not answer, or could not take it for the moment;
#: that burns an attempt, and several in a row open the breaker. throttled: the destination asked to be left alone.
#: setup: it takes nothing until somebody mends the settings or the account. These two open the breaker at once.
#: rate_limited: the event was not sent, because the rate had no permit left for it; that says nothing about the
#: destination.
RetryClass = Literal["transient", "throttled", "setup", "rate_limited"]


@dataclass(frozen=True, slots=True)
class Delivered:
    """The destination has the event."""


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """The event is to be tried again.

    Args:
        error: What went wrong, as a sentence for a person.
        seconds: How long the destination asked to wait; None leaves that to the backoff.
        retry_class: Why, for the breaker and the count of attempts.
    """

    error: str
    seconds: float | None = None
    retry_class: RetryClass = "transient"


@dataclass(frozen=True, slots=True)
class Dead:
    """The destination will never take the event.

    Args:
        reason: One word for the ledger.
        error: What is wrong and how to mend it, as a sentence for a person.
        whole: Whether this holds for the whole request whatever it contains, so that sending its parts would not help.
        asked: Whether the destination was asked. An event that was refused before it was sent says nothing about the
            destination, and leaves its breaker as it is.
        retry_class: What the breaker makes of it where the destination was asked and gave no final answer; None where
            it refused the event.
    """

    reason: str
    error: str
    whole: bool = False
    asked: bool = field(default=True, compare=False)
    retry_class: RetryClass | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Filtered:
    """The event was left out on purpose. ``reason`` is one word for the ledger."""

    reason: str


Outcome = Delivered | RetryAfter | Dead | Filtered

DELIVERED: Final = Delivered()
