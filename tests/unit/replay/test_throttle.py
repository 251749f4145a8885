"""The throttle: the rate holds for portions of any size."""

from __future__ import annotations

import pytest

from dispatcher.replay.throttle import Pace


class Clock:
    """Time that passes only where somebody sleeps, or the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize("portion", [1, 7, 100])
def test_the_first_portion_passes_at_once_and_the_rest_at_the_rate(portion: int) -> None:
    clock = Clock()
    pace = Pace(50, clock=clock, sleep=clock.sleep)

    for _ in range(10):
        pace.wait(portion)

    assert clock.now == pytest.approx(100 + 9 * portion / 50)


def test_a_pause_is_not_caught_up() -> None:
    clock = Clock()
    pace = Pace(10, clock=clock, sleep=clock.sleep)
    pace.wait(10)
    clock.sleep(60)
    pace.wait(10)
    pace.wait(10)
    assert clock.now == pytest.approx(161)


def test_a_portion_is_at_most_a_seconds_worth() -> None:
    assert Pace(0.5).portion(100) == 1
    assert Pace(30.9).portion(100) == 30
    assert Pace(5000).portion(100) == 100
