"""The backend for event-tracking, called as its tracker does."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from dispatcher.contrib.eventtracking import DispatcherBackend
from dispatcher.testing import Captured

TIME = datetime(2026, 3, 4, 5, 6, 7, 890123, tzinfo=UTC)


def test_an_event_keeps_its_time_data_and_context(emitted_events: Captured) -> None:
    DispatcherBackend().send({"name": "a.b", "timestamp": TIME, "data": {"n": 1}, "context": {"user_id": 7}})
    event = emitted_events.one("a.b", n=1)
    assert (event.type, event.timestamp, event.context) == ("event", TIME, {"user_id": 7})


@pytest.mark.parametrize("event", [{"name": "a"}, {"name": "a", "data": None, "context": None, "timestamp": "x"}])
def test_what_is_missing_is_filled_in(emitted_events: Captured, event: dict[str, object]) -> None:
    DispatcherBackend().send(event)
    found = emitted_events.one("a")
    assert (found.data, found.context) == ({}, {})
    assert found.timestamp > TIME


def test_the_path_of_a_request_is_cut_to_a_name(emitted_events: Captured) -> None:
    DispatcherBackend().send({"name": "/" + "x" * 400, "data": {}})
    assert emitted_events.names == ["/" + "x" * 254]


def test_options_are_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"not max_event_size, name: put allowlists"):
        DispatcherBackend(name="tracking", max_event_size=5)
