"""Which of our destinations are given several batches at a time."""

from __future__ import annotations

import pytest

from dispatcher import config
from dispatcher.destinations.build import build_destinations

GIVEN = {
    "segment": {"write_key": "x"},
    "webhook": {"url": "http://127.0.0.1:1"},
    "meta_conversions": {},
    "sailthru": {},
    "google_analytics": {},
}


@pytest.mark.parametrize(
    ("name", "joins"),
    [
        ("tracking_log", True),
        ("segment", True),
        ("meta_conversions", True),
        ("sailthru", False),
        ("google_analytics", True),
    ],
)
def test_batches_join_only_where_their_events_share_requests_or_a_file(name: str, joins: bool) -> None:
    table = {"enabled": True, **GIVEN.get(name, {})}
    settings = config.load({}, {"destinations": {name: table}})
    destination = build_destinations(settings)[name]()
    assert destination.joins_batches is joins
    destination.close()
