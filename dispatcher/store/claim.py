"""Claims: a batch that one worker holds for a while, and what it gets where it cannot have the batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from dispatcher.store.doorbell import Ring


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A batch that this worker holds until the lease runs out.

    Args:
        destination: For which it is.
        batch_id: Its name, in the doorbell too.
        token: The holder's name, by which ``settle`` knows it.
        payloads: Its events, oldest first.
        attempts: How often it was parked before.
        maybe_delivered: It may have been delivered: a worker claimed it before and never settled it, or the store had
            lost it.
        put_ms: When it was put, in milliseconds since 1970, by the store's clock.
        claimed_ms: When it was claimed, by the same clock.
        lost: How many claims before this one, in a row, ended with the lease.
        condemned: It is one event, over which alone the lease was lost: it must not be delivered, but become a dead
            letter.
        first: How many events of the batch are settled already; the others come after these.
        rest: Its other events, which wait until these are settled, as one of the batch ends the workers that take it.
        slot: The destination's slot in which it is.
    """

    destination: str
    batch_id: str
    token: str
    payloads: tuple[bytes, ...]
    attempts: int
    maybe_delivered: bool
    put_ms: int
    claimed_ms: int
    lost: int = 0
    condemned: bool = False
    first: int = 0
    rest: tuple[bytes, ...] = ()
    slot: int = 0

    @classmethod
    def from_row(
        cls, destination: str, token: str, row: Sequence[Any], payloads: tuple[bytes, ...], *, slot: int = 0
    ) -> Self:
        """Read what claim.lua says of a batch that was claimed.

        Args:
            destination: Whose batch it is.
            token: What the claim is known by when the batch is settled.
            row: As Redis gives it.
            payloads: The events that were packed in it, oldest first.
            slot: The destination's slot in which it is.
        """
        batch_id = row[0].decode()
        _, attempts, claims, put_ms, claimed_ms, lost, part, first, condemned = map(int, row[2:])
        return cls(
            destination=destination,
            batch_id=batch_id,
            token=token,
            payloads=payloads[:part],
            attempts=attempts,
            maybe_delivered=claims > 0,
            put_ms=put_ms,
            claimed_ms=claimed_ms,
            lost=lost,
            condemned=bool(condemned),
            first=first,
            rest=payloads[part:],
            slot=slot,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinLimits:
    """What the batches may have together that are claimed by one delivery.

    Args:
        events: How many events; one batch alone may have more.
        bytes: How many bytes, unpacked.
    """

    events: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a worker got to deliver together.

    Args:
        claims: The batches, that of the doorbell or the one that has waited longest first. All have the same lease.
        damaged: Those that could not be read; they are settled.
        ring: The doorbell that the caller has to send for what still waits; None where it was sent, or nothing does.
    """

    claims: Sequence[Claim]
    damaged: Sequence[Damaged]
    ring: Ring | None


@dataclass(frozen=True, slots=True)
class Damaged:
    """A batch that could not be read: its ``count`` events are dead letters now, the first of which has its bytes."""

    count: int
    error: str


@dataclass(frozen=True, slots=True)
class Paused:
    """A batch that may not be tried since somebody has paused the destination: it is parked, and no attempt was burnt.

    Args:
        until_ms: When the pause ends, in milliseconds since 1970; None if somebody has to end it.
        reason: What whoever paused it gave as the reason; may be empty.
    """

    until_ms: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class BreakerOpen:
    """A batch that may not be tried while the breaker is open: it is parked, and no attempt was burnt.

    Args:
        until_ms: When the destination is tried again, in milliseconds since 1970; not before.
        error: Why the breaker is open.
    """

    until_ms: int
    error: str
