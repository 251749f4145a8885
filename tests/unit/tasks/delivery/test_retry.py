"""When an event that was not taken is tried again, and when that is given up."""

from __future__ import annotations

import pytest

from dispatcher.config import RetrySettings
from dispatcher.tasks.delivery.retry import backoff_seconds, is_expired, pause_seconds


def retry(**values: object) -> RetrySettings:
    return RetrySettings.model_validate(values)


def test_the_backoff_grows_exponentially_up_to_its_maximum() -> None:
    settings = retry(first_seconds=2, factor=3, max_seconds=50)

    assert [backoff_seconds(settings, attempts) for attempts in range(5)] == [2, 6, 18, 50, 50]
    assert backoff_seconds(settings, 10_000) == 50


def test_the_pause_is_random_up_to_the_backoff() -> None:
    settings = retry(first_seconds=2, factor=3, max_seconds=50)

    pauses = [pause_seconds(settings, attempts=2, asked_seconds=0) for _ in range(300)]

    assert 0 <= min(pauses) < 5
    assert 13 < max(pauses) <= 18


def test_the_pause_is_at_least_as_long_as_the_destination_asked() -> None:
    settings = retry(first_seconds=2, factor=3, max_seconds=50)

    assert min(pause_seconds(settings, attempts=0, asked_seconds=30) for _ in range(100)) == 30


@pytest.mark.parametrize(
    ("max_age", "age", "expired"), [(3600, 3599, False), (3600, 3600, True), ("never", 1e9, False)]
)
def test_an_event_expires_at_its_maximum_age(max_age: object, age: float, expired: bool) -> None:
    assert is_expired(retry(max_age_seconds=max_age), age_seconds=age) is expired
