"""What tracker.js sends becomes events and Segment's calls, each under the id that it has in the page."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dispatcher.collector.page.events import EventsRoute
from dispatcher.collector.route import Accepted, Request
from dispatcher.collector.sources import Sources
from dispatcher.config.collector import CollectorSettings, SourceSettings
from dispatcher.edx_log.render import renderer
from dispatcher.event import encode
from dispatcher.intake.refused import Refused
from dispatcher.store.deprecated_calls import CONTEXT_KEY
from dispatcher.tasks.destinations.segment.message import to_message

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ID = "3f0c9a52-6d0e-4d5c-9a51-0d2f4c1b7a10"
PAGE = "https://courses.example.org/courses/course-v1:Org+C1+R1/"


def answered(body: Any, stage: Any = "warn", **options: Any) -> Accepted | Refused:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = Request("POST", "/v1/events", {"user-agent": "Browser/1"}, b"", text, "192.0.2.7", NOW)
    route = EventsRoute(CollectorSettings(logger_stage=stage))
    return route(request, Sources({"site": SourceSettings(**{"write_key": "k"} | options)}))


def taken(*items: Any, **rest: Any) -> Accepted:
    accepted = answered({"key": "k", "sentAt": "2026-01-02T03:04:05.000Z", "events": items} | rest)
    assert isinstance(accepted, Accepted)
    return accepted


def test_an_item_becomes_an_event_under_its_own_id() -> None:
    item = {"id": ID, "name": "shop.paid", "timestamp": "2026-01-02T03:04:00.250Z", "data": {"order": 7}, "page": PAGE}
    (event,) = taken(item | {"anonymousId": "a-1"}).events
    assert (event.id, event.type, event.name, event.data) == (ID, "event", "shop.paid", {"order": 7})
    assert event.timestamp == NOW - timedelta(seconds=4.75)
    assert event.context == {
        "ip": "192.0.2.7",
        "agent": "Browser/1",
        "course_id": "course-v1:Org+C1+R1",
        "org_id": "Org",
        "event_source": "browser",
        "page": PAGE,
        "anonymous_id": "a-1",
    }


def test_the_version_of_the_client_is_passed_on_to_be_counted() -> None:
    item = {"id": ID, "name": "a"}
    assert taken(item, version="0.1.0").client == "0.1.0"
    assert taken({**item, "timestamp": 5}, version="0.1.0").client == "0.1.0"  # of a type that is not tracker.js'
    assert taken(item).client is None


def test_a_page_cannot_say_who_its_user_is_or_where_it_runs() -> None:
    told = {"user_id": 1, "username": "root", "ip": "::1", "session": "s", "event_source": "server", "theme": "dark"}
    (event,) = taken({"id": ID, "name": "a", "context": told}).events
    assert event.context == {
        "ip": "192.0.2.7",
        "agent": "Browser/1",
        "theme": "dark",
        "event_source": "browser",
        "page": None,
    }


def test_a_track_call_reaches_segment_as_it_was_made() -> None:
    item = {
        "id": ID,
        "type": "track",
        "name": "Order Paid",
        "data": {"total": 5},
        "userId": "u-1",
        "anonymousId": "a-1",
        "timestamp": "2026-01-02T03:04:05Z",
        "page": PAGE,
        "integrations": {"All": True},
        "context": {"consent": {"categoryPreferences": {"advertising": False}}},
    }
    (event,) = taken(item).events
    assert event.type == "track"
    message = to_message(event)
    assert (message["messageId"], message["event"], message["properties"]) == (ID, "Order Paid", {"total": 5})
    assert (message["userId"], message["integrations"]) == ("u-1", {"All": True})
    assert message["context"]["page"]["url"] == PAGE
    assert message["context"]["consent"] == {"categoryPreferences": {"advertising": False}}
    encode(event)


@pytest.mark.parametrize(
    ("kind", "name", "wanted"),
    [
        ("page", "Home", {"name": "Home", "category": "Docs", "properties": {"path": "/"}}),
        ("identify", "u-1", {"traits": {"path": "/"}}),
    ],
)
def test_page_and_identify_are_segments_calls(kind: str, name: str, wanted: dict[str, Any]) -> None:
    item = {"id": ID, "type": kind, "name": name, "data": {"path": "/"}, "anonymousId": "a-1"}
    (event,) = taken(item | ({"category": "Docs"} if kind == "page" else {})).events
    message = to_message(event)
    assert message["type"] == kind
    assert {key: message[key] for key in wanted} == wanted


@pytest.mark.parametrize(
    ("item", "code"),
    [
        (5, "not_an_object"),
        (None, "not_an_object"),
        ({}, "bad_id"),
        ({"id": 5, "name": "a"}, "bad_id"),
        ({"id": "x" * 10_000, "name": "a"}, "bad_id"),
        ({"id": "a\nb", "name": "a"}, "bad_id"),
        ({"id": ID}, "bad_type"),
        ({"id": ID, "name": ""}, "bad_type"),
        ({"id": ID, "name": ["a"]}, "bad_type"),
        ({"id": ID, "name": "a", "type": "alias"}, "bad_type"),
        ({"id": ID, "name": "a", "type": ["track"]}, "bad_type"),
    ],
)
def test_a_bad_item_is_rejected_and_takes_no_other_along(item: Any, code: str) -> None:
    accepted = taken({"id": "first", "name": "a"}, item, {"id": "last", "name": "b"})
    assert [event.id for event in accepted.events] == ["first", "last"]
    assert accepted.indexes == [0, 2]
    (rejected,) = accepted.rejected
    assert (rejected.index, rejected.code) == (1, code)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "not_json"),
        (b"{", 400, "not_json"),
        (b"\xff", 400, "not_json"),
        (b"[" * 100_000, 400, "too_deep"),
        ([], 400, "no_events"),
        ({"key": "k"}, 400, "no_events"),
        ({"key": "other", "events": []}, 401, "unknown_key"),
        ({"key": ["k"], "events": []}, 401, "unknown_key"),
        ({"key": "k", "events": [{}] * 3}, 413, "too_many"),
    ],
)
def test_a_bad_request_is_refused_as_a_whole(body: Any, status: int, code: str) -> None:
    refused = answered(body, batch_events=2)
    assert isinstance(refused, Refused)
    assert (refused.status, refused.code) == (status, code)


def test_what_the_page_dropped_is_counted_by_reason() -> None:
    dropped = {"full": 3, "old": 0, "size": -1, "x y": 1, "a" * 99: 1, "refused": True, "odd": "1"}
    assert taken(dropped=dropped).dropped == {"full": 3}
    assert taken(dropped=[1]).dropped == {}


def test_the_old_call_and_its_script_are_kept_apart() -> None:
    item = {"id": ID, "name": "a", "via": "Logger.log", "script": "https://example.org/x.js"}
    (event,) = taken(item).events
    assert event.context["deprecated_call"] == {"via": "Logger.log", "script": "https://example.org/x.js"}
    assert b"Logger" not in renderer("edx")(encode(event))


def test_a_call_by_the_removed_logger_is_refused_alone() -> None:
    items = [{"id": "1", "name": "a", "via": "Logger.log"}, {"id": "2", "name": "a"}]
    accepted = answered({"key": "k", "events": items}, "removed")
    assert isinstance(accepted, Accepted)
    assert [event.id for event in accepted.events] == ["2"]
    (refused,) = accepted.rejected
    assert (refused.index, refused.id, refused.code) == (0, "1", "removed_call")
    assert "Tracker.emit" in refused.message


def test_what_the_stub_sends_itself_becomes_what_its_calls_mean() -> None:
    told = {
        "context": {"theme": "dark"},
        "integrations": {"All": False},
        "via": "Logger.log",
        "script": "https://a/b.js",
    }
    accepted = taken(
        {"id": "1", "type": "on", "name": "a"},
        {"id": "2", "type": "emit", "name": "a", "data": [1], "o": told},
        {"id": "3", "type": "page", "name": "Docs", "data": "Home", "o": {"x": 1}},
        {"id": "4", "type": "page", "name": "Home", "data": {"x": 1}},
        {"id": "5", "type": "identify", "name": 7, "data": {"plan": "free"}},
        {"id": "6", "type": "identify", "name": {"plan": "free"}},
        {"id": "7", "type": "track", "name": "Paid", "data": {"n": 1}, "o": told},
        {"id": "8", "type": "off", "name": "a"},
    )
    # A listener is neither taken nor refused.
    assert [(item.index, item.code) for item in accepted.rejected] == [(7, "bad_type")]
    emitted, *calls = accepted.events
    assert (emitted.type, emitted.name, emitted.data, emitted.context["theme"]) == ("event", "a", [1], "dark")
    assert emitted.context["integrations"] == {"All": False}
    assert emitted.context[CONTEXT_KEY] == {"via": "Logger.log", "script": "https://a/b.js"}
    assert [(call.type, call.data) for call in calls] == [
        ("page", {"properties": {"x": 1}, "name": "Home", "category": "Docs"}),
        ("page", {"properties": {"x": 1}, "name": "Home"}),
        ("identify", {"traits": {"plan": "free"}, "userId": "7"}),
        ("identify", {"traits": {"plan": "free"}}),
        ("track", {"properties": {"n": 1}, "integrations": {"All": False}, "context": {"theme": "dark"}}),
    ]
