"""Every event that a delivery is done with has a receipt of its own fate; what is parked has none yet."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from dispatcher.config import DestinationSettings
from dispatcher.event import Event, encode
from dispatcher.outcomes import DELIVERED, EXPIRED, Dead, Filtered, Outcome, Posted, RetryAfter
from dispatcher.receipts.block import Block, key_of
from dispatcher.store.claim import Claim
from dispatcher.tasks.delivery.receipts import receipts_of
from dispatcher.tasks.delivery.settlement import settlements_of

NOW = 1_800_000_000.0
WEEKS = 60 * 86_400.0


def ids_of(count: int) -> list[str]:
    return [f"019e02c4-7a1b-7c3d-8e5f-{number:012x}" for number in range(count)]


def receipts(*outcomes: Outcome, age: float = 0.0) -> Sequence[Block]:
    payloads = tuple(
        encode(Event(id=one, name="shop.paid", timestamp=datetime.fromtimestamp(NOW, UTC), data={}, context={}))
        for one in ids_of(len(outcomes))
    )
    claim = Claim(
        destination="segment",
        batch_id="7-a-0",
        token="me",
        payloads=payloads,
        attempts=2,
        maybe_delivered=False,
        put_ms=int((NOW - age) * 1000),
        claimed_ms=int(NOW * 1000),
    )
    table = DestinationSettings.model_validate({"type": "segment", "write_key": "key"})
    settlements = settlements_of([claim], [outcomes], settings=table, now=NOW)
    return receipts_of([claim], [outcomes], settlements, now=NOW)


def test_a_delivery_that_succeeds_makes_one_block() -> None:
    (block,) = receipts(DELIVERED, DELIVERED)
    assert (block.destination, block.batch, block.fate, block.reason) == ("segment", "7-a-0", "delivered", "")
    assert (block.at_ms, block.attempt) == (int(NOW * 1000), 3)
    assert block.keys == b"".join(map(key_of, ids_of(2)))


def test_each_fate_and_reason_has_its_block() -> None:
    found = receipts(
        DELIVERED,
        Dead("invalid", "no"),
        Filtered("consent"),
        RetryAfter("later"),
        DELIVERED,
        Posted("box", "id", b"[]"),
        Dead("oversized", "no"),
    )
    keys = [key_of(one) for one in ids_of(7)]
    assert {(block.fate, block.reason): block.keys for block in found} == {
        ("delivered", ""): keys[0] + keys[4],
        ("dead", "invalid"): keys[1],
        ("filtered", "consent"): keys[2],
        ("posted", ""): keys[5],
        ("dead", "oversized"): keys[6],
    }


def test_what_is_given_up_is_dead_and_what_is_parked_is_not_done() -> None:
    assert receipts(RetryAfter("later")) == []
    (block,) = receipts(RetryAfter("later"), age=WEEKS)
    assert (block.fate, block.reason) == ("dead", EXPIRED)
