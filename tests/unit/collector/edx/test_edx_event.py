"""What edX's pages send becomes the event that the platform made of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest

from dispatcher.collector.edx.event import EventRoute
from dispatcher.collector.route import Accepted, Request
from dispatcher.collector.sources import Sources
from dispatcher.config.collector import SourceSettings
from dispatcher.edx_log.render import renderer
from dispatcher.event import Event, encode
from dispatcher.intake.refused import Refused

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
PAGE = "https://courses.example.org/courses/course-v1:Org+C1+R1/courseware/week/"
HEADERS = {"origin": "https://courses.example.org", "user-agent": "Browser/1", "host": "courses.example.org"}


def a_request(fields: dict[str, Any], *, method: str = "POST", headers: dict[str, str] = HEADERS) -> Request:
    text = urlencode(fields).encode()
    query, body = (text, b"") if method == "GET" else (b"", text)
    return Request(method, "/event", headers, query, body, "192.0.2.7", NOW)


def answered(request: Request, **options: Any) -> Accepted | Refused:
    options = {"write_key": "k", "origins": "https://courses.example.org"} | options
    return EventRoute()(request, Sources({"lms": SourceSettings(**options)}))


def the_event(request: Request) -> Event:
    accepted = answered(request)
    assert isinstance(accepted, Accepted)
    assert accepted.body == b"success"
    (event,) = accepted.events
    return event


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_form_becomes_a_browsers_event(method: str) -> None:
    fields = {"event_type": "seq_goto", "event": '{"old": 1, "new": 2}', "page": PAGE}
    event = the_event(a_request(fields, method=method))
    assert (event.type, event.name, event.data, event.timestamp) == ("event", "seq_goto", {"old": 1, "new": 2}, NOW)
    assert event.context == {
        "ip": "192.0.2.7",
        "agent": "Browser/1",
        "host": "courses.example.org",
        "path": "/event",
        "course_id": "course-v1:Org+C1+R1",
        "org_id": "Org",
        "event_source": "browser",
        "page": PAGE,
    }


@pytest.mark.parametrize(
    ("sent", "data"),
    [
        ("", {}),
        ("{}", {}),
        ('["answers", "<p>"]', ["answers", "<p>"]),
        ("5", 5),
        ("true", True),
        ('"input_i4x=a&b"', "input_i4x=a&b"),
        ("input_i4x=a&b", "input_i4x=a&b"),
        ("{broken", "{broken"),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_any_type_of_json_and_any_text_is_the_events_data(sent: str, data: Any) -> None:
    assert the_event(a_request({"event_type": "problem_check", "event": sent})).data == data


def test_what_is_absent_is_as_in_the_platform() -> None:
    event = the_event(a_request({}))
    assert (event.name, event.data, event.context["page"]) == ("unknown", {}, None)


def test_the_key_of_the_course_counts_before_the_page() -> None:
    event = the_event(a_request({"event_type": "a", "page": PAGE, "courserun_key": "edX/999/test"}))
    assert (event.context["course_id"], event.context["org_id"]) == ("edX/999/test", "edX")


def test_a_json_body_is_read_as_a_form_is() -> None:
    body = json.dumps({"event_type": "a", "event": {"n": 1}, "page": PAGE}).encode()
    event = the_event(Request("POST", "/event", HEADERS, b"", body, "", NOW))
    assert (event.name, event.data, event.context["page"]) == ("a", {"n": 1}, PAGE)


def test_the_line_is_the_platforms_to_the_byte() -> None:
    event = the_event(a_request({"event_type": "seq_goto", "event": '{"old": 1, "id": "é"}', "page": PAGE}))
    line = renderer("edx")(encode(event))
    assert line == (
        b'{"name": "seq_goto", "context": {"path": "/event", "course_id": "course-v1:Org+C1+R1", "org_id": "Org"}, '
        b'"username": "", "session": "", "ip": "192.0.2.7", "agent": "Browser/1", "host": "courses.example.org", '
        b'"referer": "", "accept_language": "", "event": "{\\"old\\": 1, \\"id\\": \\"\\\\u00e9\\"}", '
        b'"time": "2026-01-02T03:04:05.678901+00:00", "event_type": "seq_goto", "event_source": "browser", '
        b'"page": "' + PAGE.encode() + b'"}'
    )


def test_pages_of_other_origins_are_refused() -> None:
    request = a_request({"event_type": "a"}, headers={"origin": "https://elsewhere.example"})
    refused = answered(request)
    assert isinstance(refused, Refused)
    assert (refused.status, refused.code) == (403, "foreign_origin")


def test_a_page_that_says_no_origin_is_known_by_its_referer() -> None:
    request = a_request({"event_type": "page_close"}, method="GET", headers={"referer": PAGE})
    assert isinstance(answered(request), Accepted)


def test_the_only_browsers_source_takes_any_page_where_it_lists_none() -> None:
    assert isinstance(answered(a_request({}, headers={}), origins=()), Accepted)
    assert isinstance(answered(a_request({}, headers={}), origins=(), kind="server"), Refused)


def test_more_fields_than_a_form_has_are_refused() -> None:
    refused = answered(a_request({f"f{number}": "" for number in range(200)}))
    assert isinstance(refused, Refused)
    assert refused.code == "bad_form"
