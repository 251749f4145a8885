"""Dead letters of the destination Segment, as a worker leaves them, and the command that handles them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from click.testing import CliRunner, Result

from dispatcher.cli import main
from dispatcher.event import Event, encode
from dispatcher.store.batches import BatchStore
from dispatcher.store.claim import Claim
from dispatcher.store.dead_event import DeadEvent
from dispatcher.store.packing import pack
from dispatcher.store.put import Put
from dispatcher.store.settlement import Settlement

NAME: Final = "segment"


def an_event(number: int, name: str = "shop.order.paid", *, text: str = "") -> bytes:
    """An encoded event with the id ``id-{number}``, and the number in its data."""
    data = {"number": number, "text": text} if text else {"number": number}
    return encode(Event(id=f"id-{number}", name=name, timestamp=datetime.now(UTC), data=data, context={}))


def add_dead_letters(
    store: BatchStore, *payloads: bytes, reason: str = "oversized", start: int = 0, destination: str = NAME
) -> None:
    """Put a batch of these events, and have all of them die at the destination.

    Args:
        destination: Whose they are.
        start: The batch's position in the journal; every batch needs one of its own, in steps of 8.
    """
    packed = pack(payloads)
    put = Put(destination=destination, journal="1-a", start=start, end=start + 8, packed=packed, count=len(payloads))
    assert store.put([put]) == [None]
    claim = store.claim(destination, put.batch_id, token="t", lease_seconds=60)
    assert isinstance(claim, Claim)
    dead = [DeadEvent(reason, f"too large for {destination}", payload) for payload in payloads]
    assert store.settle(claim, Settlement(dead=dead, error="too large"))


def run_dead(*arguments: str) -> Result:
    """Run ``dispatcher dead …``."""
    return CliRunner().invoke(main, ["dead", *arguments], catch_exceptions=False)
