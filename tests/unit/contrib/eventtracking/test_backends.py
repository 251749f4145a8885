"""The backends of event-tracking's API: what becomes of an event in each."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest

from dispatcher.contrib.eventtracking.backends.logger import LoggerBackend
from dispatcher.contrib.eventtracking.backends.segment import SegmentBackend
from dispatcher.testing import Captured

TIME = datetime(2026, 3, 4, 5, 6, 7, 890123, tzinfo=UTC)


def test_a_line_has_times_in_utc(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "tests.tracking")
    east = timezone(timedelta(hours=5))
    event = {"at": TIME.astimezone(east), "naive": TIME.replace(tzinfo=None), "day": date(2026, 3, 4), "é": [1]}
    LoggerBackend(name="tests.tracking").send(event)
    assert caplog.messages == [
        '{"at": "2026-03-04T05:06:07.890123+00:00", "naive": "2026-03-04T05:06:07.890123+00:00", '
        '"day": "2026-03-04", "\\u00e9": [1]}'
    ]


def test_a_level_is_a_method_of_the_logger(caplog: pytest.LogCaptureFixture) -> None:
    LoggerBackend(name="tests.tracking", level="WARNING").send({})
    assert caplog.record_tuples == [("tests.tracking", 30, "{}")]


def test_a_value_without_a_json_form_raises() -> None:
    with pytest.raises(TypeError, match="object"):
        LoggerBackend(name="tests.tracking").send({"a": object()})


def test_an_event_that_is_too_large_is_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    LoggerBackend(name="tests.tracking", max_event_size=20).send({"name": "a", "data": "mia@school.example"})
    assert caplog.messages == [
        "the event a has 43 characters and is not logged: raise max_event_size (20), or send a reference to the large "
        "value"
    ]


@pytest.mark.parametrize("limit", [{}, {"max_event_size": None}])
def test_an_event_of_more_than_a_kilobyte_is_logged(limit: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "tests.tracking")
    LoggerBackend(name="tests.tracking", **limit).send({"a": "x" * 100_000})
    assert [len(json.loads(line)["a"]) for line in caplog.messages] == [100_000]


def test_segment_gets_the_whole_event_by_way_of_the_outbox(emitted_events: Captured) -> None:
    context = {"user_id": 7, "ip": "192.0.2.1", "agent": "Firefox", "client_id": "1.2", "path": "/a", "host": "x.org"}
    given = {"name": "edx.a", "timestamp": TIME, "data": {"n": 1}, "context": {**context, "referer": "https://r.org"}}
    SegmentBackend().send(given)
    event = emitted_events.one("edx.a")
    assert (event.type, event.timestamp, event.data["userId"]) == ("track", TIME, "7")
    assert event.data["properties"] == {**given, "timestamp": "2026-03-04T05:06:07.890123Z"}
    assert event.data["context"] == {
        "Google Analytics": {"clientId": "1.2"},
        "ip": "192.0.2.1",
        "userAgent": "Firefox",
        "page": {"path": "/a", "referrer": "https://r.org", "url": "https://x.org/a"},
    }


def test_segment_gets_the_page_that_the_context_has(emitted_events: Captured) -> None:
    SegmentBackend().send({"name": "a", "context": {"user_id": 7, "page": "https://y.org", "path": "/", "host": "x"}})
    assert emitted_events.one("a").data["context"] == {"page": {"path": "/", "url": "https://y.org"}}


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"name": "a"},
        {"name": "a", "context": {}},
        {"name": "a", "context": {"user_id": ""}},
        {"context": {"user_id": 7}},
    ],
)
def test_segment_gets_nothing_of_nobody(event: dict[str, Any], emitted_events: Captured) -> None:
    SegmentBackend().send(event)
    assert emitted_events.events == []
