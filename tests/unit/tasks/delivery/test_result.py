"""What a task says of its delivery, as Flower shows it."""

from __future__ import annotations

from dispatcher.store.claim import Claim
from dispatcher.store.dead_event import DeadEvent
from dispatcher.store.settlement import Settlement
from dispatcher.tasks.delivery.result import Result


def a_claim(rest: int = 0) -> Claim:
    return Claim(
        destination="segment",
        batch_id="7-a-0",
        token="t",
        payloads=(b"{}",) * 10,
        attempts=0,
        maybe_delivered=False,
        put_ms=0,
        claimed_ms=0,
        rest=(b"{}",) * rest,
    )


def test_one_batch_is_told_of_as_before() -> None:
    dead = [DeadEvent("invalid", "no", b"{}")]
    assert str(Result([a_claim()], [Settlement(delivered=9, dead=dead)])) == "9 delivered, 1 dead"
    assert str(Result([a_claim(4)], [Settlement(delivered=10)])) == "10 delivered, 0 dead, 4 of the batch come next"
    parked = Result([a_claim()], [Settlement(delivered=9, left=[b"{}"], due_ms=5, error="503")])
    assert (parked.retry_text, parked.left, parked.due_ms) == ("503", 1, 5)


def test_several_batches_are_summed_and_a_retry_says_what_else_became_of_them() -> None:
    settlements = [
        Settlement(delivered=10),
        Settlement(delivered=7, left=[b"{}"] * 3, due_ms=9_000, waits_for="others are first"),
        Settlement(left=[b"{}"] * 10, due_ms=8_000, error="503"),
        Settlement(delivered=8, dead=[DeadEvent("invalid", "no", b"{}")] * 2),
    ]
    result = Result([a_claim()] * 4, settlements)
    assert str(result) == "4 batches: 25 delivered, 2 dead, 13 parked"
    assert result.retry_text == "503 (4 batches: 25 delivered, 2 dead, 13 parked)"
    assert (result.left, result.due_ms) == (13, 8_000)
    assert str(Result([a_claim()] * 2, settlements[::3])) == "2 batches: 18 delivered, 2 dead"
