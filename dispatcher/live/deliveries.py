"""Deliveries: what became of events at a destination, shown to whoever looks, with the request of each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from dispatcher.event import Event, decode
from dispatcher.live.tap import Passing, Tap, shown_json
from dispatcher.monitoring.traces import remove_traces
from dispatcher.outcomes import Dead, Delivered, Filtered, Outcome, Posted, RetryAfter
from dispatcher.secrecy.safe_text import foreign_text

if TYPE_CHECKING:
    from dispatcher.live.lease import Lease

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One batch that a destination was given.

    Args:
        destination: Its name.
        batch: The batch's id.
        attempt: The number of this try, from 1.
        seconds: How long the delivery took, of all batches that went together.
        payloads: The events.
        outcomes: What became of each.
    """

    destination: str
    batch: str
    attempt: int
    seconds: float
    payloads: Sequence[bytes]
    outcomes: Sequence[Outcome]


def show_deliveries(
    tap: Tap, deliveries: Sequence[Delivery], preview: Callable[[Event], dict[str, Any]], *, together: int
) -> None:
    """Show what became of events. Blocks for a round trip for each viewer, and for none without one.

    Args:
        tap: Knows who looks.
        deliveries: The batches that went together.
        preview: What the destination sends for an event, credentials masked: the code that delivered it.
        together: How many events went together.
    """
    for lease in tap.leases():
        if lease.destination and deliveries and deliveries[0].destination != lease.destination:
            continue
        shown = [
            one
            for delivery in deliveries
            for payload, outcome in zip(delivery.payloads, delivery.outcomes, strict=True)
            if (one := _passing(lease, delivery, payload, outcome, preview, together))
        ]
        tap.show(lease, shown)


def _passing(
    lease: Lease,
    delivery: Delivery,
    payload: bytes,
    outcome: Outcome,
    preview: Callable[[Event], dict[str, Any]],
    together: int,
) -> Passing | None:
    try:
        (plain,) = remove_traces([payload]).payloads
        event = decode(plain)
    except (msgspec.DecodeError, RecursionError):
        return None
    if not lease.samples(event.id) or not lease.wants(event):
        return None
    describe: Callable[[], dict[str, Any]] = lambda: {  # noqa: E731 - a function would need seven arguments
        **_describe(event, delivery, outcome),
        **_request(event, outcome, preview),
        "together": together,
    }
    return Passing(event=event, destinations=(delivery.destination,), describe=describe)


def _describe(event: Event, delivery: Delivery, outcome: Outcome) -> dict[str, Any]:
    return {
        "kind": "delivery",
        "id": event.id,
        "name": event.name,
        "at_ms": event.timestamp.timestamp() * 1000,
        "seen_ms": datetime.now(UTC).timestamp() * 1000,
        "destination": delivery.destination,
        "batch": delivery.batch,
        "attempt": delivery.attempt,
        "took_ms": delivery.seconds * 1000,
        **describe_outcome(outcome),
    }


def describe_outcome(outcome: Outcome) -> dict[str, str]:
    """An outcome in words: ``outcome``, and ``reason``, ``error`` and ``answer`` where it has them."""
    match outcome:
        case Delivered():
            return {"outcome": "delivered"}
        case Filtered():
            return {"outcome": "filtered", "reason": foreign_text(outcome.reason)}
        case Posted():
            return {"outcome": "posted"}
        case Dead():
            reason = foreign_text(outcome.reason)
            return {"outcome": "dead", "reason": reason, **_words(outcome)}
        case RetryAfter():
            return {"outcome": "retry", "reason": outcome.retry_class, **_words(outcome)}


def _words(outcome: Dead | RetryAfter) -> dict[str, str]:
    words = {"error": foreign_text(outcome.error, 1_000), "answer": foreign_text(outcome.answer, 1_000)}
    return {name: text for name, text in words.items() if text}


def _request(event: Event, outcome: Outcome, preview: Callable[[Event], dict[str, Any]]) -> dict[str, Any]:
    """What the destination was sent for the event, where it was sent anything."""
    if isinstance(outcome, Filtered) or (isinstance(outcome, Dead) and not outcome.asked):
        return {}
    try:
        sent = shown_json(msgspec.json.encode(preview(event)))
    except Exception as error:  # the destination's code, which may be anybody's
        logger.debug("the request of an event cannot be shown: %s", type(error).__name__)
        return {}
    return {"sent": sent} if sent is not None else {"sent_too_large": True}
