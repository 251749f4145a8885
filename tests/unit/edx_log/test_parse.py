"""A log line becomes the event again: Segment gets the same message from it as the first time."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

import pytest

from dispatcher.edx_log.render import Format, renderer
from dispatcher.event import Event, encode
from dispatcher.replay import UnreadableLineError, read_line
from dispatcher.tasks.destinations.segment import to_message
from tests.support.edx_contexts import BROWSER, MOBILE, REQUEST

TIMESTAMP = datetime(2026, 3, 4, 5, 6, 7, 890123, tzinfo=UTC)
ID = "019cb7a3-5d52-7000-8000-0123456789ab"
Properties = Literal["data", "edx"]


def event(name: str, data: Any, context: dict[str, Any]) -> Event:
    return Event(id=ID, name=name, timestamp=TIMESTAMP, data=data, context=context)


def again(original: Event, line_format: Format = "edx", *, ids: bool = True) -> Event:
    """The event, by way of the log."""
    return read_line(renderer(line_format, ids=ids)(encode(original)) + b"\n")


SAME = {
    "of a request": event("edx.course.enrollment.activated", {"mode": "honor", "n": 1.5, "e": 1e-7, "ü": "€"}, REQUEST),
    "of nothing": event("shop.order.paid", {"total": 12, "none": None, "list": [1, {"a": []}]}, {}),
    "of a task": event("edx.grades.course.grade_calculated", {"user_id": "6"}, {"course_id": "x", "user_id": 6}),
    "of a browser": event("problem_show", {"problem": "block-v1:a+b+c", "deep": {"a": [1, 2]}}, BROWSER),
    "of a form": event("problem_check", "input_1=choice_2&input_2=", BROWSER),
    "of an app": event("edx.bi.app.opened", {"category": "x"}, MOBILE),
    "without data": event("edx.course.home.viewed", {}, REQUEST),
    "with a type of its own": event("edx.done.toggled", {"a": 1}, {**REQUEST, "event_type": "done"}),
    "of a browser's video": event("play_video", {"id": "0b9e", "currentTime": 3.5, "code": "x"}, BROWSER),
    "of a tab": event("edx.ui.lms.sequence.tab_selected", {"current_tab": 2, "target_tab": 5, "tab_count": 9}, BROWSER),
    "of a step": event("edx.ui.lms.sequence.next_selected", {"current_tab": 2, "tab_count": 9}, BROWSER),
    "of a step out": event("edx.ui.lms.sequence.next_selected", {"current_tab": 9, "tab_count": 9}, BROWSER),
    "of a video": event("edx.video.paused", {"current_time": 3.5, "code": "x"}, BROWSER),
    "of a seek": event("edx.video.position.changed", {"old_time": 1, "new_time": 9, "seek_type": "slide"}, MOBILE),
}


@pytest.mark.parametrize("properties", ["data", "edx"])
@pytest.mark.parametrize("line_format", ["edx", "tutor", "event"])
@pytest.mark.parametrize("what", SAME)
def test_segment_gets_the_same_message_from_the_log(what: str, line_format: Format, properties: Properties) -> None:
    original = SAME[what]
    expected = to_message(original, properties=properties)
    assert to_message(again(original, line_format), properties=properties) == expected


@pytest.mark.parametrize("what", SAME)
def test_a_line_without_an_id_always_gets_the_same_one(what: str) -> None:
    first, second, tutor = (again(SAME[what], line_format, ids=False) for line_format in ("edx", "edx", "tutor"))
    assert first.id == second.id == tutor.id
    assert UUID(first.id).version == 8
    assert first.id != again(event("another", {}, {}), ids=False).id
    # A message of nobody is known by its id.
    nobody = {"anonymousId": ID} if what == "of nothing" else {}
    assert to_message(first) | {"messageId": ID} | nobody == to_message(SAME[what])


def test_an_apps_own_time_is_the_only_one_in_the_log() -> None:
    original = event("edx.video.loaded", {"code": "m"}, {**MOBILE, "timestamp": "2026-03-04T05:06:01Z"})

    replayed = again(original)

    assert replayed.timestamp == datetime(2026, 3, 4, 5, 6, 1, tzinfo=UTC)
    assert replayed.context == original.context | {"timestamp": "2026-03-04T05:06:01+00:00"}


@pytest.mark.parametrize(
    ("name", "data", "context", "differs"),
    [
        pytest.param("a.b", {}, {**REQUEST, "client_id": "1.2"}, {"context": "Google Analytics"}, id="client_id"),
        pytest.param(
            "edx.video.seeked",
            {"old_time": 1},
            REQUEST,
            {"event": "edx.video.position.changed"},
            id="two names that became one",
        ),
        pytest.param(
            "edx.video.played",
            {"module_id": "i4x://edX/DemoX/video/0b9e"},
            REQUEST,
            {"properties": {"module_id": "i4x-edX-DemoX-video-0b9e"}},
            id="the key of a block",
        ),
        pytest.param("a.b", "", BROWSER, {"properties": {}}, id="no data and empty text"),
    ],
)
def test_messages_differ_only_in_what_the_log_omits(
    name: str, data: Any, context: dict[str, Any], differs: dict[str, Any]
) -> None:
    original = event(name, data, context)
    before, after = to_message(original), to_message(again(original))

    assert {key for key in before if before[key] != after[key]} == set(differs)
    for key, expected in differs.items():
        assert after[key] == expected or expected in set(before[key]) - set(after[key])


def test_the_url_of_an_apps_video_comes_back_without_its_last_part() -> None:
    url = "https://courses.example.org/courses/x/courseware/a/b/1"
    replayed = again(event("edx.video.played", {"code": "m"}, {**MOBILE, "open_in_browser_url": url}))

    assert replayed.context["open_in_browser_url"] == "https://courses.example.org/courses/x/courseware/a/b/"
    assert "page" not in replayed.context


# Lines of edX's own making


def test_an_old_line_without_a_name_is_named_after_its_type() -> None:
    line = {
        "username": "staff",
        "host": "x.org",
        "event_source": "server",
        "event_type": "/courses/edX/Open_DemoX/info",
        "context": {"user_id": 9, "path": "/courses/edX/Open_DemoX/info"},
        "time": "2014-05-16T18:52:20.302431+00:00",
        "ip": "127.0.0.1",
        "event": '{"POST": {}, "GET": {"a": ["1"]}}',
        "agent": "x",
        "page": None,
    }
    read = read_line(json.dumps(line).encode())

    assert (read.name, read.data) == ("/courses/edX/Open_DemoX/info", {"POST": {}, "GET": {"a": ["1"]}})
    assert read.timestamp.isoformat() == "2014-05-16T18:52:20.302431+00:00"
    assert read.context == {"user_id": 9, "path": line["event_type"]} | {
        key: line[key] for key in ("username", "host", "ip", "agent")
    }


def test_truncated_text_stays_text() -> None:
    line = {"event_type": "/x", "event": '{"POST": {"a": ["1', "time": "2014-05-16T18:52:20+00:00"}
    assert read_line(json.dumps(line).encode()).data == '{"POST": {"a": ["1'


def test_nan_of_pythons_logger_becomes_null() -> None:
    line = b'{"name": "a", "event": {"grade": NaN}, "time": "2014-05-16T18:52:20"}'
    assert json.loads(encode(read_line(line)))["data"] == {"grade": None}


def test_a_syslog_prefix_is_ignored() -> None:
    body = b'{"name": "a", "event": {}, "time": "2014-05-16T18:52:20"}'
    assert read_line(b"Jan  1 00:00:01 host [service_variant=lms][tracking] - " + body) == read_line(body)


def test_an_id_that_is_not_a_uuid_stays_in_the_context() -> None:
    line = b'{"name": "a", "event": {}, "context": {"event_id": "party-17"}, "time": "2014-05-16T18:52:20"}'
    read = read_line(line)
    assert read.context == {"event_id": "party-17"}
    assert UUID(read.id).version == 8


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"", "no JSON object"),
        (b"2026-01-01 INFO nothing of interest\n", "no JSON object"),
        (b'{"name": "a", "event": {"x": ', "it is not JSON"),
        (b'{"name": "a", "event": {}}', "no time"),
        (b'{"name": "a", "event": {}, "time": "yesterday"}', "its time 'yesterday' is not a timestamp"),
        (b'{"time": "2014-05-16T18:52:20"}', "neither a name nor an event_type"),
        (b'{"name": "", "time": "2014-05-16T18:52:20"}', "printable characters"),
        (b'{"name": "a\\nb", "time": "2014-05-16T18:52:20"}', "printable characters"),
        (
            b'{"id": 7, "name": "a", "timestamp": "2014-05-16T18:52:20Z", "data": {}, "context": {}}',
            "could not be sent",
        ),
        (b'{"name": "\xff"}', "it is not JSON"),
        (b'{"a": ' * 100_000, "it is not JSON"),
        (b'{"name": "a", "time": "2014-05-16T18:52:20", "event": {"n": "\\ud800"}}', "could not be sent|not JSON"),
    ],
)
def test_a_line_that_cannot_be_parsed_gives_a_reason(line: bytes, error: str) -> None:
    with pytest.raises(UnreadableLineError, match=error):
        read_line(line)


def test_a_line_that_has_its_data_under_data_keeps_it() -> None:
    line = b'{"name": "a", "data": {"n": 1}, "context": {}, "time": "2014-05-16T18:52:20", "event_type": "a"}'
    assert read_line(line).data == {"n": 1}
    assert read_line(line.replace(b'"data"', b'"event": {"n": 2}, "data"')).data == {"n": 2}
