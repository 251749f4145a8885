"""Batches that were put within the same window wait for its end, and no longer."""

from __future__ import annotations

import math

import pytest

from dispatcher.destinations.base import Batch
from dispatcher.tasks.destinations.window import wait_for_more


def _batch(put_at: float, waited_seconds: float, size: int = 10) -> Batch:
    return Batch(destination="d", id="b", payloads=(b"x" * size,), put_at=put_at, waited_seconds=waited_seconds)


def _left(*batches: Batch, window: float = 60) -> float | None:
    waits = wait_for_more(batches, window_seconds=window, enough_bytes=100)
    return None if waits is None else waits.seconds


@pytest.mark.parametrize(
    ("put_at", "waited", "left"),
    [(600.0, 0.0, 60.0), (659.5, 0.0, 0.5), (610.0, 20.0, 30.0), (610.0, 50.0, None), (610.0, 9999.0, None)],
)
def test_a_batch_waits_for_the_end_of_its_window(put_at: float, waited: float, left: float | None) -> None:
    assert _left(_batch(put_at, waited)) == left


def test_batches_of_one_window_are_due_at_the_same_moment() -> None:
    early, late = _batch(600.0, 30.0), _batch(625.0, 5.0)
    assert _left(early) == _left(late) == _left(early, late) == 30.0


def test_one_that_is_due_takes_the_others_along() -> None:
    assert _left(_batch(599.0, 2.0), _batch(600.5, 0.5)) is None


def test_enough_does_not_wait_nor_does_anything_without_a_window() -> None:
    assert _left(_batch(600.0, 0.0, size=50), _batch(600.0, 0.0, size=50)) is None
    assert _left(_batch(600.0, 0.0), window=0) is None


def test_a_batch_of_which_nobody_knows_when_it_was_put_does_not_wait() -> None:
    assert _left(Batch(destination="d", id="b", payloads=(b"x",))) is None
    assert _left(_batch(0.0, math.inf)) is None
