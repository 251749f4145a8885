"""Messages dropped from a queue: each is counted, and a line a minute is logged."""

from __future__ import annotations

import pytest

from dispatcher.tasks.transport.refusals import Refusals


def test_dropped_messages_are_counted_and_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = 100.0
    refusals = Refusals(lambda: now)
    for _ in range(1000):
        refusals.note("segment")
    refusals.note("tracking_log")
    assert refusals.counts() == {"segment": 1000, "tracking_log": 1}
    assert len(caplog.messages) == 2
    now += 61
    refusals.note("segment")
    assert len(caplog.messages) == 3
    assert "1000 messages since, 1001 in all" in caplog.messages[-1]
