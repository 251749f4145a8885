"""Receipts of a delivery: a block for each fate of each batch's events. What is parked has none: it is not done yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dispatcher.outcomes import Delivered, Filtered, Outcome, Posted
from dispatcher.receipts.block import Block, Fate, keys_of
from dispatcher.secrecy.safe_text import foreign_text

if TYPE_CHECKING:
    from dispatcher.store.claim import Claim
    from dispatcher.store.settlement import Settlement


def receipts_of(
    claims: Sequence[Claim], outcomes: Sequence[Sequence[Outcome]], settlements: Sequence[Settlement], *, now: float
) -> list[Block]:
    """The receipts of batches that were delivered together. Pure.

    Args:
        claims: The batches.
        outcomes: For each batch, one outcome for each of its events.
        settlements: What is recorded of each batch.
        now: Seconds since 1970.
    """
    at_ms = int(now * 1000)
    return [
        Block(
            destination=claim.destination,
            batch=claim.batch_id,
            fate=fate,
            reason=reason,
            at_ms=at_ms,
            attempt=claim.attempts + 1,
            keys=keys_of(payloads),
        )
        for claim, of_batch, settlement in zip(claims, outcomes, settlements, strict=True)
        for (fate, reason), payloads in _by_fate(claim.payloads, of_batch, settlement).items()
    ]


def _by_fate(
    payloads: Sequence[bytes], outcomes: Sequence[Outcome], settlement: Settlement
) -> dict[tuple[Fate, str], Sequence[bytes]]:
    if settlement.delivered == len(payloads):
        return {("delivered", ""): payloads}
    found: dict[tuple[Fate, str], list[bytes]] = {}
    for payload, outcome in zip(payloads, outcomes, strict=True):
        match outcome:
            case Delivered():
                found.setdefault(("delivered", ""), []).append(payload)
            case Filtered():
                found.setdefault(("filtered", foreign_text(outcome.reason)), []).append(payload)
            case Posted():
                found.setdefault(("posted", ""), []).append(payload)
    # By the settlement: what failed once more is dead where it is too old to be tried again.
    for dead in settlement.dead:
        found.setdefault(("dead", dead.reason), []).append(dead.payload)
    return dict(found)
