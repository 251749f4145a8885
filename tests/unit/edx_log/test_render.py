"""Lines equal those of edX's logger byte for byte; the expected ones are written by hand."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.edx_log.render import DECODING_ERRORS, renderer
from dispatcher.event import Event, encode

if TYPE_CHECKING:
    from collections.abc import Iterator

ID = "01932f5c-8d1e-7c3a-9b7e-0d4f6a1b2c3d"
TIMESTAMP = datetime(2026, 3, 4, 5, 6, 7, 891011, tzinfo=UTC)
REQUEST = {
    "session": "3f2a9c",
    "user_id": 42,
    "username": "ada",
    "ip": "203.0.113.9",
    "host": "courses.example.org",
    "agent": "Browser/1.0",
    "path": "/enroll",
    "referer": "https://courses.example.org/",
    "accept_language": "en",
    "client_id": "77.88",
    "course_id": "course-v1:Uni+Math+2026",
    "org_id": "Uni",
}

# The prefix that Tutor users' log shippers look for.
TUTOR_READER = re.compile(r"^.* \[tracking\] [^{}]* (?P<line>\{.*\})$")


def payload(name: str = "edx.done", *, data: Any = None, context: Any = None, timestamp: datetime = TIMESTAMP) -> bytes:
    return encode(
        Event(id=ID, name=name, timestamp=timestamp, data={} if data is None else data, context=dict(context or {}))
    )


def line(name: str = "edx.done", **fields: Any) -> str:
    return renderer("edx")(payload(name, **fields)).decode("ascii")


@pytest.fixture
def _new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    from dispatcher.edx_log.render import _local_second

    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    _local_second.cache_clear()
    yield
    monkeypatch.undo()
    time.tzset()
    _local_second.cache_clear()


def test_a_server_event_has_its_request_on_top_and_the_rest_in_context() -> None:
    assert line("edx.course.enrollment.activated", data={"mode": "audit", "n": [1, 2]}, context=REQUEST) == (
        '{"name": "edx.course.enrollment.activated", '
        '"context": {"user_id": 42, "path": "/enroll", "course_id": "course-v1:Uni+Math+2026", "org_id": "Uni"}, '
        '"username": "ada", "session": "3f2a9c", "ip": "203.0.113.9", "agent": "Browser/1.0", '
        '"host": "courses.example.org", "referer": "https://courses.example.org/", "accept_language": "en", '
        '"event": {"mode": "audit", "n": [1, 2]}, "time": "2026-03-04T05:06:07.891011+00:00", '
        '"event_type": "edx.course.enrollment.activated", "event_source": "server", "page": null}'
    )


def test_an_event_without_context_has_empty_fields() -> None:
    assert line() == (
        '{"name": "edx.done", "context": {}, "username": "", "session": "", "ip": "", "agent": "", "host": "", '
        '"referer": "", "accept_language": "", "event": {}, "time": "2026-03-04T05:06:07.891011+00:00", '
        '"event_type": "edx.done", "event_source": "server", "page": null}'
    )


def test_a_browser_event_holds_its_data_as_text() -> None:
    context = {"event_source": "browser", "page": "https://x.org/p", "user_id": 1}
    written = line("play_video", data={"id": "v", "currentTime": 2.5, "q": 'a"b\\c'}, context=context)
    assert written == (
        '{"name": "play_video", "context": {"user_id": 1}, "username": "", "session": "", "ip": "", "agent": "", '
        '"host": "", "referer": "", "accept_language": "", '
        r'"event": "{\"id\": \"v\", \"currentTime\": 2.5, \"q\": \"a\\\"b\\\\c\"}", '
        '"time": "2026-03-04T05:06:07.891011+00:00", "event_type": "play_video", "event_source": "browser", '
        '"page": "https://x.org/p"}'
    )


def test_a_browser_events_text_is_unchanged() -> None:
    written = line("problem_check", data="input_1=choice_2&input_3=%5B%5D", context={"event_source": "browser"})
    assert '"event": "input_1=choice_2&input_3=%5B%5D", ' in written


def test_non_ascii_text_is_escaped_twice_in_a_browser_event() -> None:
    written = line("x", data={"é": "\x7f😀"}, context={"event_source": "browser", "page": "ü"})
    assert r'"event": "{\"\\u00e9\": \"\\u007f\\ud83d\\ude00\"}", ' in written
    assert written.endswith(r'"page": "\u00fc"}')


def test_a_mobile_event_has_the_devices_time() -> None:
    written = line(
        "edx.bi.app.opened",
        data={"a": 1},
        context={
            "event_source": "mobile",
            "timestamp": "2014-12-09T03:57:24+00:00",
            "received_at": datetime(2014, 12, 9, 3, 57, 56, 373000, tzinfo=UTC),
            "event_type": "app_opened",
        },
    )
    assert '"context": {"received_at": "2014-12-09T03:57:56.373000+00:00"}, ' in written
    assert written.endswith(
        '"event": {"a": 1}, "time": "2014-12-09T03:57:24+00:00", "event_type": "app_opened", '
        '"event_source": "mobile", "page": null}'
    )


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("2014-12-09T03:57:24Z", '"2014-12-09T03:57:24+00:00"'),
        ("2014-12-09T03:57:24.5Z", '"2014-12-09T03:57:24.500000+00:00"'),
        ("2014-12-09T05:57:24+02:00", '"2014-12-09T03:57:24+00:00"'),
        ("0001-01-01T00:00:00+02:00", '"0001-01-01T00:00:00+02:00"'),
        ("yesterday", '"yesterday"'),
        (1418097444, "1418097444"),
        (None, "null"),
    ],
)
def test_a_devices_time_is_normalised_only_if_it_is_valid(said: object, written: str) -> None:
    assert f'"time": {written}, ' in line(context={"timestamp": said})


def test_whole_seconds_have_no_fraction() -> None:
    assert '"time": "2026-03-04T05:06:07+00:00"' in line(timestamp=TIMESTAMP.replace(microsecond=0))
    assert '"time": "2026-03-04T05:06:07.000010+00:00"' in line(timestamp=TIMESTAMP.replace(microsecond=10))


@pytest.mark.parametrize(
    "timestamp", ["2026-03-04T07:06:07.5+02:00", "2026-03-04T05:06:07.500000", "2026-03-04T05:06:07.5Z"]
)
def test_other_forms_of_the_timestamp_give_the_same_line(timestamp: str) -> None:
    wire = msgspec.json.encode({"id": ID, "name": "x", "timestamp": timestamp, "data": {}, "context": {}})
    assert b'"time": "2026-03-04T05:06:07.500000+00:00"' in renderer("edx")(wire)


@pytest.mark.parametrize("empty", [None, "", 0, 0.0, False, [], {}])
def test_empty_data_is_an_empty_object(empty: object) -> None:
    wire = msgspec.json.encode(
        {"id": ID, "name": "x", "timestamp": "2026-03-04T05:06:07Z", "data": empty, "context": {}}
    )
    assert b'"event": {}, ' in renderer("edx")(wire)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (1e16, "1e+16"),
        (1e-05, "1e-05"),
        (1.25e-7, "1.25e-07"),
        (123456789012345680.0, "1.2345678901234568e+17"),
        (-1e300, "-1e+300"),
        (0.0001, "0.0001"),
        (9999999999999998.0, "9999999999999998.0"),
        (1.0, "1.0"),
        (-0.0, "-0.0"),
        (10**30, "1" + "0" * 30),
    ],
)
def test_numbers_are_written_like_pythons(value: float, written: str) -> None:
    assert f'"event": {{"a": [{written}]}}, ' in line(data={"a": [value]})
    assert f'"context": {{"a": {written}}}, ' in line(context={"a": value})


def test_a_payload_in_another_spacing_gives_the_same_line() -> None:
    wire = (
        b'{ "id": "i", "type": "event",\n "name": "x", "timestamp": "2026-03-04T05:06:07Z",'
        b' "data": {"a" : 100.0,\n"b":"\xc3\xa9/"}, "context": {} }'
    )
    assert rb'"event": {"a": 100.0, "b": "\u00e9/"}, ' in renderer("edx")(wire)


@pytest.mark.parametrize("text", ["0b9e39477cf3", "1e5,", "x0.00001", "[1e9]"])
def test_text_that_looks_like_an_unusual_float_is_unchanged(text: str) -> None:
    assert f'"event": {{"a": "{text}", "b": 1e-05}}, ' in line(data={"a": text, "b": 0.00001})
    assert f'"event": {{"a": "{text}", "b": 0.5}}, ' in line(data={"a": text, "b": 0.5})


_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_text, inner, max_size=4),
    max_leaves=12,
)
_moved = ("username", "session", "ip", "agent", "host", "referer", "accept_language")
_contexts = st.dictionaries(
    _text | st.sampled_from([*_moved, "client_id", "event_type", "page", "user_id"]), _values, max_size=8
)
_sources = st.sampled_from([None, "browser", "server", "mobile", "task"])


def reference(name: str, data: Any, context: dict[str, Any], timestamp: datetime) -> bytes:
    rest = dict(context)
    top = {field: rest.pop(field, "") for field in _moved}
    rest.pop("client_id", None)
    event = data or {}
    if rest.get("event_source") == "browser" and isinstance(event, dict):
        event = json.dumps(event)
    ends = {
        "event": event,
        "time": timestamp.isoformat(),
        "event_type": rest.pop("event_type", name),
        "event_source": rest.pop("event_source", "server"),
        "page": rest.pop("page", None),
    }
    return json.dumps({"name": name, "context": rest, **top, **ends}).encode()


@given(
    name=_text,
    data=_values,
    context=_contexts,
    source=_sources,
    timestamp=st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)),
)
def test_any_event_is_written_as_json_dumps_would(
    name: str, data: Any, context: dict[str, Any], source: str | None, timestamp: datetime
) -> None:
    context.pop("timestamp", None)
    if source is not None:
        context["event_source"] = source
    wire = encode(Event(id=ID, name=name, timestamp=timestamp, data=data, context=context))
    assert renderer("edx")(wire) == reference(name, data, context, timestamp)
    assert renderer("edx", ids=True)(wire) == reference(name, data, {**context, "event_id": ID}, timestamp)


# As ours are, and others of as many characters, of fewer and of more.
_ids = st.sampled_from([ID, str(UUID(int=7)), "0" * 36, "ä" * 36, '"' + "b" * 35, "c" * 34 + '\\"', "\x7f" * 36, "7"])


_few_contexts = st.lists(
    st.fixed_dictionaries(
        {}, optional={"event_source": _sources.filter(bool), "user_id": _values, "page": _text, "event_id": _values}
    ),
    min_size=1,
    max_size=2,
)
_neighbours = st.lists(
    st.tuples(
        st.sampled_from(["edx.done", "edx.bi.seen", '","data":{', 'é"', "edx.video.played"]),
        st.dictionaries(_text, _values, max_size=3) | _values,
        st.integers(0, 1),
        st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)),
        _ids,
    ),
    max_size=8,
)


@given(contexts=_few_contexts, events=_neighbours, ids=st.booleans())
def test_what_neighbouring_events_share_changes_no_line(
    contexts: list[dict[str, Any]], events: list[Any], ids: bool
) -> None:
    render = renderer("edx", ids=ids)
    for name, data, which, timestamp, event_id in events:
        context = contexts[which % len(contexts)]
        wire = encode(Event(id=event_id, name=name, timestamp=timestamp, data=data, context=context))
        if name.startswith("edx.video."):
            assert render(wire) == renderer("edx", ids=ids)(wire)
        else:
            own = {"event_id": event_id} if ids else {}
            assert render(wire) == reference(name, data, {**context, **own}, timestamp)


@pytest.mark.parametrize(
    "like", [', "event_source": ', {"event_source": "browser", "page": "/"}, [{"a": 1, "event_source": 2}], None, 0, ""]
)
@pytest.mark.parametrize("field", ["user_id", "event_type", "page", ', "event_source": ', "event_source"])
def test_a_context_that_looks_like_part_of_a_line_is_written_normally(field: str, like: object) -> None:
    render = renderer("edx")
    for n in range(3):
        data = {"n": n, "like": like}
        assert render(payload(data=data, context={field: like})) == reference(
            "edx.done", data, {field: like}, TIMESTAMP
        )


def test_a_payload_that_only_resembles_its_neighbour_is_refused() -> None:
    render = renderer("edx")
    whole = payload(data={"n": 1}, context=REQUEST)
    render(whole)
    for broken in (whole.replace(b'{"n":1}', b'{"n":1},"n":2'), whole.replace(b'{"n":1}', b'{"n":}')):
        with pytest.raises(DECODING_ERRORS):
            render(broken)


def test_the_ids_option_puts_the_events_id_into_the_context() -> None:
    written = renderer("edx", ids=True)(payload(context={"user_id": 1}))
    assert f'"context": {{"user_id": 1, "event_id": "{ID}"}}, ' in written.decode()


@pytest.mark.usefixtures("_new_york")
def test_a_tutor_line_has_loggings_prefix_in_local_time() -> None:
    written = renderer("tutor")(payload(context=REQUEST)).decode()
    prefix, _, rest = written.partition("{")
    assert prefix == "2026-03-04 00:06:07,891 INFO 0 [tracking] [user 42] [ip 203.0.113.9] logger.py:41 - "
    assert "{" + rest == line(context=REQUEST)
    whole_second = renderer("tutor", ids=True)(payload(timestamp=TIMESTAMP.replace(microsecond=0))).decode()
    assert whole_second.startswith("2026-03-04 00:06:07,000 INFO 0 [tracking] [user None] [ip None] logger.py:41 - {")
    assert ID in whole_second


@pytest.mark.parametrize("odd", ["", "a b", "x\ny", "{", "}", "é", None, True, 1.5, {"a": 1}])
def test_a_tutor_prefix_stays_readable_for_any_context(odd: object) -> None:
    written = renderer("tutor")(payload(context={"user_id": odd, "ip": odd})).decode()
    assert "[user None] [ip None]" in written
    found = TUTOR_READER.match(written)
    assert found is not None
    assert json.loads(found["line"])["name"] == "edx.done"


def test_the_event_format_is_the_payload() -> None:
    wire = payload(data={"é": 1e16}, context=REQUEST)
    assert renderer("event")(wire) == wire
    assert renderer("event")(wire.replace(b'"data":', b'"data":\n')) == wire


@pytest.mark.parametrize("line_format", ["edx", "tutor", "event"])
@pytest.mark.parametrize(
    "wire",
    [
        b"",
        b"null",
        b"{}",
        b'{"id":"i"',
        b'{"id":"i","name":5,"timestamp":"2026-03-04T05:06:07Z","data":{},"context":{}}',
        b'{"id":"i","name":"x","timestamp":"2026-03-04T05:06:07Z","data":{},"context":[]}',
        b'{"id":"i","name":"\xff","timestamp":"2026-03-04T05:06:07Z","data":{},"context":{}}',
        b'{"id":"i","name":"x","timestamp":"2026-03-04T05:06:07Z","context":{},"data":'
        + b"[" * 100_000
        + b"]" * 100_000
        + b"}",
    ],
)
def test_anything_but_an_event_is_refused(line_format: Any, wire: bytes) -> None:
    with pytest.raises(DECODING_ERRORS):
        renderer(line_format)(wire)


@pytest.mark.parametrize("line_format", ["edx", "tutor"])
@pytest.mark.parametrize("timestamp", ["soon", "", "0001-01-01T00:00:00+02:00"])
def test_an_invalid_timestamp_is_refused(line_format: Any, timestamp: str) -> None:
    wire = msgspec.json.encode({"id": "i", "name": "x", "timestamp": timestamp, "data": {}, "context": {}})
    with pytest.raises(DECODING_ERRORS):
        renderer(line_format)(wire)
