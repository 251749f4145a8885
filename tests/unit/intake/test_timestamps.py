"""A client's clock may be wrong; how long ago something happened is right all the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dispatcher.intake.timestamps import corrected_time, parse_time

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("happened", "sent", "wanted"),
    [
        # Right; an hour slow; a day ahead; at 1970 and at 2099, each sent two seconds after it happened.
        ("2026-01-02T03:04:03Z", "2026-01-02T03:04:05Z", 2),
        ("2026-01-02T02:04:03+00:00", "2026-01-02T02:04:05Z", 2),
        ("2026-01-03T04:04:03+01:00", "2026-01-03T03:04:05Z", 2),
        ("1970-01-01T00:00:01Z", "1970-01-01T00:00:03Z", 2),
        ("2099-01-01T00:00:01Z", "2099-01-01T00:00:03Z", 2),
        # Sent before it happened, or not said when.
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:00Z", 0),
        ("2026-01-02T03:04:00Z", None, 5),
        ("2026-01-02T03:04:00", "soon", 5),
        ("2099-01-01T00:00:01Z", None, 0),
        (None, "2026-01-02T03:04:05Z", 0),
        ("yesterday", None, 0),
        (1_767_323_045, None, 0),
        ("2026-01-02", None, 0),
    ],
)
def test_it_happened_as_long_before_it_came_as_before_it_was_sent(happened: object, sent: object, wanted: int) -> None:
    assert corrected_time(happened, sent, NOW) == NOW - timedelta(seconds=wanted)


def test_no_time_is_beyond_what_a_timestamp_holds() -> None:
    assert corrected_time("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", NOW) == datetime.min.replace(tzinfo=UTC)
    assert parse_time("0001-01-01T00:00:00+05:00") is None
