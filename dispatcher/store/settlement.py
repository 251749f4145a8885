"""Settlements: what became of a claimed batch, and what that says of the destination."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from dispatcher.secrecy.safe_text import shorten
from dispatcher.store.claim import Claim
from dispatcher.store.dead_event import DeadEvent, pack_event
from dispatcher.store.doorbell import Ring
from dispatcher.store.packing import pack

# Characters of the destination's last error, as the ledger keeps it.
_ERROR_LENGTH: Final = 500

#: What a try says of a destination; nothing where the destination was not asked.
BreakerResult = Literal["ok", "transient", "throttled", "setup", ""]


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSignal:
    """What a try says of the destination, for its breaker.

    Args:
        result: ok closes the breaker; throttled and setup open it at once, transient after so many in a row.
        failures: So many.
        first_seconds: How long it is open at first; twice as long each time until it was closed.
        max_seconds: The longest that it is open, unless the destination asked for more.
        asked_seconds: What the destination asked for.
    """

    result: BreakerResult = ""
    failures: int = 5
    first_seconds: float = 5.0
    max_seconds: float = 60.0
    asked_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class PostedEvent:
    """An event that waits for its visitor's page from now on.

    Args:
        mailbox: The name of the visitor's mailbox.
        id: The event's.
        calls: What the page is to do, as JSON.
        payload: The event, for the dead letter that it may become.
    """

    mailbox: str
    id: str
    calls: bytes
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What became of a claimed batch.

    Args:
        delivered: How many of its events were delivered.
        filtered: How many were filtered, by reason.
        dead: Those that will not be delivered.
        posted: Those that wait for their visitors' pages.
        keep_seconds: How long these wait at the most.
        left: Those that are parked until ``due_ms``, to be tried again.
        due_ms: In milliseconds since 1970.
        burns_attempt: Whether the next backoff is longer for it.
        error: Kept as the destination's last one.
        waits_for: Why events are left where nothing is wrong, for people who look at the task.
        signal: What the breaker is told.
        breaker_error: Why, where it is not this batch's ``error``.
    """

    delivered: int = 0
    filtered: Mapping[str, int] = field(default_factory=dict)
    dead: Sequence[DeadEvent] = ()
    posted: Sequence[PostedEvent] = ()
    keep_seconds: float = 0.0
    left: Sequence[bytes] = ()
    due_ms: int = 0
    burns_attempt: bool = True
    error: str = ""
    waits_for: str = ""
    signal: BreakerSignal = field(default_factory=BreakerSignal)
    breaker_error: str = ""

    def arguments(self, claim: Claim) -> dict[str, Any]:
        """As settle.lua takes them."""
        signal = self.signal
        posted: dict[str, Any] = {}
        if self.posted:
            names = [(one.mailbox, one.id) for one in self.posted]
            posted = {"posted": names, "keep_ms": int(self.keep_seconds * 1000)}
        return posted | {
            "id": claim.batch_id,
            "token": claim.token,
            "delivered": self.delivered,
            "filtered": dict(self.filtered),
            "dead": [one.why for one in self.dead],
            "left": len(self.left),
            "rest": len(claim.rest),
            "due_ms": self.due_ms,
            "burns_attempt": self.burns_attempt,
            "error": shorten(self.error, _ERROR_LENGTH),
            "breaker_error": shorten(self.breaker_error or self.error, _ERROR_LENGTH),
            "result": signal.result,
            "failures": signal.failures,
            "first_ms": int(signal.first_seconds * 1000),
            "max_ms": int(signal.max_seconds * 1000),
            "asked_ms": int(signal.asked_seconds * 1000),
        }

    def data(self, claim: Claim) -> list[bytes]:
        """The bytes behind the arguments."""
        remaining = (*self.left, *claim.rest)
        # Packing again is only needed where some of the batch has gone.
        is_smaller = 0 < len(remaining) < len(claim.payloads) + len(claim.rest)
        posted = [part for one in self.posted for part in (one.calls, pack_event(one.payload))]
        return [pack(remaining) if is_smaller else b"", *(part for one in self.dead for part in one.data), *posted]


@dataclass(frozen=True, slots=True)
class Settled:
    """An outcome that was recorded, what it did to the breaker, and the doorbell that the caller has to send."""

    breaker: Literal["", "opened", "closed"] = ""
    ring: Ring | None = None
