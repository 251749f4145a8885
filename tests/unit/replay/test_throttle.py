"""The throttle: the rate holds for batches of any size."""

from __future__ import annotations

import pytest

from dispatcher.replay.throttle import Throttle
from tests.support.clock import Clock


@pytest.mark.parametrize("batch", [1, 7, 100])
def test_the_first_batch_passes_at_once_and_the_rest_at_the_rate(batch: int) -> None:
    clock = Clock(100.0)
    throttle = Throttle(50, clock=clock, sleep=clock.advance)

    for _ in range(10):
        throttle.wait(batch)

    assert clock.now == pytest.approx(100 + 9 * batch / 50)


def test_a_pause_is_not_caught_up() -> None:
    clock = Clock(100.0)
    throttle = Throttle(10, clock=clock, sleep=clock.advance)
    throttle.wait(10)
    clock.advance(60)
    throttle.wait(10)
    throttle.wait(10)
    assert clock.now == pytest.approx(161)


def test_a_batch_holds_at_most_a_seconds_worth() -> None:
    assert Throttle(0.5).batch_size(100) == 1
    assert Throttle(30.9).batch_size(100) == 30
    assert Throttle(5000).batch_size(100) == 100
