"""What was dropped from a queue: counted each time, said once a minute."""

from __future__ import annotations

import pytest

from dispatcher.tasks.transport.refusals import Refusals


def test_each_is_counted_and_a_line_a_minute_says_how_many(caplog: pytest.LogCaptureFixture) -> None:
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
