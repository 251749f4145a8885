"""The closed set of what can become of an event at a destination. One outcome for each event, not for each batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

#: Why an event is to be tried again. transient: no answer, or one that speaks of a trouble of the moment; it burns an
#: attempt, and several in a row open the breaker. throttled: the destination asked to be left alone. setup: nothing
#: will be taken before somebody mends the settings or the account. These two open the breaker at once. paced: it was
#: not its turn, so it was not sent; that says nothing of the destination.
RetryKind = Literal["transient", "throttled", "setup", "paced"]


@dataclass(frozen=True, slots=True)
class Delivered:
    """The destination has it."""


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """Not this time. ``seconds`` is what the destination asked for; None leaves it to the backoff."""

    error: str
    seconds: float | None = None
    kind: RetryKind = "transient"


@dataclass(frozen=True, slots=True)
class Dead:
    """It will never be taken: ``reason`` is one word for the ledger, ``error`` a sentence for a person.

    With ``whole``, what is wrong is not the contents of some of a request: it is no use to send its parts. ``kind`` is
    what it says of the destination: None where that has answered, paced where it was not asked, else as of a retry.
    """

    reason: str
    error: str
    whole: bool = False
    kind: RetryKind | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Filtered:
    """The destination was right to leave it out, for ``reason``."""

    reason: str


Outcome = Delivered | RetryAfter | Dead | Filtered

DELIVERED: Final = Delivered()
