"""A line as it stands: what it says, its parts to the byte, and why a broken one is no record."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dispatcher.edx_log.parse import read_line
from dispatcher.edx_log.record import BrokenLineError, context_of, id_of, json_of, read_record

LINE: dict[str, Any] = {
    "name": "problem_check",
    "context": {"user_id": 42, "course_id": "course-v1:A+B+C", "org_id": "A"},
    "username": "ada",
    "event": {"answers": {"1": "choice_1"}},
    "time": "2026-01-31T12:00:00.000001+00:00",
    "event_type": "problem_check",
    "event_source": "server",
}


def line(**changes: Any) -> bytes:
    return json.dumps({**LINE, **changes}).encode()


@pytest.mark.parametrize(
    "event",
    [
        b'{"a": 1,  "b":2}',
        b'"{\\"a\\": 1,\\u0020 \\"b\\": 2}"',
        b'{"a": NaN, "b" : -Infinity}',
        b'"half of a pair: \\ud83d"',
        b'{"twice": 1, "twice": 2}',
        b"[1, 2.50, 1e400]",
        b"null",
        b"5",
        '{"ü": "\U0001f600"}'.encode(),
    ],
    ids=["object", "text", "nan", "surrogate", "keys twice", "list", "null", "number", "not ascii"],
)
def test_parts_stay_to_the_byte(event: bytes) -> None:
    body = b'{"event_type": "x", "event" :  ' + event + b' , "context": {"user_id":  7}, "time": "t"}'

    record = read_record(json_of(b"Jan 31 syslog: " + body + b" \r"))

    assert bytes(record.event) == event
    assert bytes(record.context) == b'{"user_id":  7}'
    assert context_of(record).user_id in (7, "7")


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        (b"garbage", "no_object"),
        (b"5", "no_object"),
        (b'["a"]', "no_object"),
        (b"\0" * 40, "no_object"),
        (line()[:-9], "not_json"),
        (line() + line(), "not_json"),
        (line()[:40] + b"\0" + line()[40:], "not_json"),
        (line() + b" and more", "not_json"),
        (b"{" * 100_000, "not_json"),
        (b'{"event_type": "x" "time": "t"}', "not_json"),
        (line(username="ada").replace(b"ada", b"\xff\xfe"), "not_utf8"),
        (b"{}", "no_event_type"),
        (line(event_type=None, name=None), "no_event_type"),
        (line(event_type="", name=""), "no_event_type"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_broken_line_says_what_is_wrong(broken: bytes, problem: str) -> None:
    with pytest.raises(BrokenLineError) as caught:
        read_record(json_of(broken))

    assert caught.value.problem == problem


@pytest.mark.parametrize("context", [None, "text", 5, [], {"user_id": [1], "course_id": 5}])
def test_an_odd_context_costs_no_line(context: Any) -> None:
    record = read_record(line(context=context, username=7, session=["a"]))

    assert (record.username, record.session) == ("7", '["a"]')
    assert context_of(record).course_id in (None, "5")


def test_ids_are_those_of_a_replay() -> None:
    own = "0190a1b2-0000-7000-8000-00000000000a"
    lines = [line(), line(event=float("nan")), line(context={"event_id": own})]

    for one in lines:
        record = read_record(one)
        assert id_of(record, context_of(record), one) == read_line(one).id


def test_a_line_of_format_event_is_read_too() -> None:
    event = {
        "id": "0190a1b2-0000-7000-8000-00000000000a",
        "type": "event",
        "name": "shop.paid",
        "timestamp": "2026-01-31T12:00:00.000001Z",
        "data": {"price": 3},
        "context": {"username": "ada", "user_id": 42, "event_source": "browser"},
    }
    body = json.dumps(event).encode()
    record = read_record(body)

    assert (record.event_type, record.event_source, record.username) == ("shop.paid", "browser", "ada")
    assert (bytes(record.event), record.time) == (b'{"price": 3}', event["timestamp"])
    assert id_of(record, context_of(record), body) == event["id"]
