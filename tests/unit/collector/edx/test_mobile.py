"""What Segment's webhook sends of edX's mobile apps becomes the event that the platform made of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from dispatcher.collector.edx.mobile import MobileRoute
from dispatcher.collector.route import Accepted, Request
from dispatcher.collector.sources import Sources
from dispatcher.config.collector import CollectorSettings
from dispatcher.edx_log.render import renderer
from dispatcher.event import encode
from dispatcher.intake.refused import Refused

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CALL: dict[str, Any] = {
    "type": "track",
    "messageId": "m-1",
    "userId": "7",
    "timestamp": "2026-01-02T03:03:24.000Z",
    "receivedAt": "2026-01-02T03:03:56.373Z",
    "context": {
        "app": {"version": "0.1.8", "name": "edX"},
        "library": {"name": "analytics-android", "version": "203"},
        "userAgent": "Dalvik/1.6.0",
        "traits": {"email": "a@example.org"},
        "locale": "en-US",
    },
    "properties": {
        "name": "edx.video.played",
        "data": {"module_id": "i4x://edX/DemoX/video/0b9e", "code": "mobile", "current_time": 114},
        "context": {
            "app_name": "edx.mobileapp.android",
            "component": "videoplayer",
            "username": "somebody",
            "event_source": "server",
            "course_id": "edX/DemoX/Demo_Course",
            "open_in_browser_url": "https://courses.example.org/courses/edX/DemoX/Demo_Course/courseware/d8a6/1",
        },
    },
}


def answered(call: Any, key: str = "s%C3%A9cret", **options: Any) -> Accepted | Refused:
    settings = CollectorSettings(**{"mobile_secret": "sécret"} | options)
    body = call if isinstance(call, bytes) else json.dumps(call).encode()
    headers = {"host": "courses.example.org"}
    request = Request("POST", "/segmentio/event", headers, f"key={key}".encode(), body, "192.0.2.7", NOW)
    return MobileRoute(settings)(request, Sources({}))


def refusal(call: Any, **options: Any) -> str:
    accepted = answered(call, **options)
    assert isinstance(accepted, Accepted)
    assert (accepted.status, accepted.body, list(accepted.events)) == (200, b"", [])
    [rejected] = accepted.rejected
    return rejected.code


def test_a_call_becomes_the_platforms_line() -> None:
    accepted = answered(CALL)
    assert isinstance(accepted, Accepted)
    [event] = accepted.events
    assert event.id == "mobile-m-1"
    assert json.loads(renderer("edx")(encode(event))) == {
        "name": "edx.video.played",
        "context": {
            "path": "/segmentio/event",
            "client": {
                "app": {"version": "0.1.8", "name": "edX"},
                "library": {"name": "analytics-android", "version": "203"},
                "locale": "en-US",
            },
            "application": {"name": "edx.mobileapp.android", "version": "0.1.8"},
            "component": "videoplayer",
            "course_id": "edX/DemoX/Demo_Course",
            "user_id": 7,
            "received_at": "2026-01-02T03:03:56.373000+00:00",
            "org_id": "edX",
        },
        "username": "",
        "session": "",
        "ip": "",
        "agent": "Dalvik/1.6.0",
        "host": "courses.example.org",
        "referer": "",
        "accept_language": "",
        "event": {"code": "mobile", "id": "i4x-edX-DemoX-video-0b9e", "currentTime": 114},
        "time": "2026-01-02T03:03:24+00:00",
        "event_type": "play_video",
        "event_source": "mobile",
        "page": "https://courses.example.org/courses/edX/DemoX/Demo_Course/courseware/d8a6",
    }


def changed(field: str, value: Any) -> dict[str, Any]:
    call: dict[str, Any] = json.loads(json.dumps(CALL))
    *way, last = field.split(".")
    target = call
    for part in way:
        target = target[part]
    if value is None:
        target.pop(last)
    else:
        target[last] = value
    return call


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("type", "identify", "type_not_listed"),
        ("context.library.name", "analytics.js", "library_not_listed"),
        ("context", "text", "library_not_listed"),
        ("properties.name", None, "no_name"),
        ("properties.name", "edx.bi.video", "name_not_listed"),
        ("properties.name", "edx.BI.video", "name_not_listed"),
        ("properties.data", None, "no_data"),
        ("properties.data", "text", "no_data"),
        ("properties.context", [], "no_data"),
        ("timestamp", None, "bad_timestamp"),
        ("receivedAt", "no time", "bad_timestamp"),
        ("userId", None, "bad_user"),
        ("userId", "x", "bad_user"),
    ],
)
def test_what_the_platform_drops_is_dropped_in_silence(field: str, value: Any, code: str) -> None:
    assert refusal(changed(field, value), mobile_disallowed_names=[".bi."]) == code


def test_types_are_listed_in_any_case() -> None:
    accepted = answered(changed("type", "TRACK"), mobile_types=["Track"])
    assert isinstance(accepted, Accepted)
    assert len(accepted.events) == 1


def test_a_screen_is_known_by_its_label() -> None:
    call = changed("properties.name", None)
    call["properties"]["label"] = "Forum: View Thread"
    accepted = answered(call)
    assert isinstance(accepted, Accepted)
    assert accepted.events[0].name == "edx.bi.app.navigation.screen"
    assert accepted.events[0].context["label"] == "Forum: View Thread"


def test_the_course_may_stand_beside_the_context() -> None:
    accepted = answered(changed("properties.course_id", "course-v1:Org+C1+R1"))
    assert isinstance(accepted, Accepted)
    context = accepted.events[0].context
    assert (context["course_id"], context["org_id"]) == ("course-v1:Org+C1+R1", "Org")


@pytest.mark.parametrize(
    ("key", "options", "status"),
    [("wrong", {}, 401), ("", {}, 401), ("", {"mobile_secret": None}, 404), ("", {"mobile_secret": ""}, 404)],
)
def test_without_the_secret_nothing_is_taken(key: str, options: dict[str, Any], status: int) -> None:
    refused = answered(CALL, key=key, **options)
    assert isinstance(refused, Refused)
    assert refused.status == status


def test_the_secret_is_not_shown() -> None:
    assert "cret-1" not in repr(CollectorSettings(mobile_secret="secret-1"))


@pytest.mark.parametrize(("call", "status"), [(b"{", 400), (b"[]", 200), (b"5", 200)])
def test_what_is_no_call_harms_nothing(call: bytes, status: int) -> None:
    outcome = answered(call)
    assert outcome.status == status
