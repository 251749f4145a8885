"""deliver_all as it is by default: batches that were claimed together, for a class that knows only ``deliver``."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace

from dispatcher.destinations.base import Batch, Destination, Options
from dispatcher.outcomes import DELIVERED, Outcome, RetryAfter
from dispatcher.tasks.testing import batch_of


class Slow(Destination[Options]):
    """Takes as long as its events say, in seconds, and trips over one that is no number."""

    def __init__(self, name: str, options: Options) -> None:
        super().__init__(name, options)
        self.tried: list[str] = []

    def deliver(self, batch: Batch) -> Sequence[Outcome]:
        self.tried.append(batch.id)
        for payload in batch.payloads:
            time.sleep(float(payload))
        return [DELIVERED] * len(batch.payloads)


def batches(*seconds: bytes, lease_seconds: float = math.inf) -> list[Batch]:
    lease_until = time.monotonic() + lease_seconds
    return [replace(batch_of([text, text]), id=str(n), lease_until=lease_until) for n, text in enumerate(seconds)]


def test_each_batch_gets_its_outcomes_and_an_error_stays_with_its_own_batch() -> None:
    first, broken, last = Slow("slow", Options()).deliver_all(batches(b"0", b"none", b"0"))

    assert first == last == [DELIVERED, DELIVERED]
    assert isinstance(broken, ValueError)


def test_a_batch_for_which_the_lease_leaves_no_time_waits_untried() -> None:
    slow = Slow("slow", Options())
    first, *others = slow.deliver_all(batches(b"0.2", b"0", b"0", lease_seconds=0.6))

    assert slow.tried == ["0"]
    assert first == [DELIVERED, DELIVERED]
    for outcomes in others:
        assert isinstance(outcomes, list)
        assert all(isinstance(outcome, RetryAfter) and outcome.retry_class == "rate_limited" for outcome in outcomes)


def test_the_first_batch_is_tried_however_short_the_lease_is() -> None:
    assert Slow("slow", Options()).deliver_all(batches(b"0", lease_seconds=-1)) == [[DELIVERED, DELIVERED]]


class Together(Slow):
    """Takes several at less cost."""

    def deliver_all(self, batches: Sequence[Batch]) -> Sequence[Sequence[Outcome] | Exception]:
        return [[DELIVERED] * len(batch.payloads) for batch in batches]


class OneByOne(Together):
    """A subclass that delivers in a way of its own."""

    def deliver(self, batch: Batch) -> Sequence[Outcome]:
        return [DELIVERED] * len(batch.payloads)


def test_only_a_class_that_takes_several_batches_at_less_cost_is_given_several() -> None:
    found = {each: each("slow", Options()).joins_batches for each in (Slow, Together, OneByOne)}
    assert found == {Slow: False, Together: True, OneByOne: False}
