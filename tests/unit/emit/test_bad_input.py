"""Bad input: strict says what is wrong, where, and the way out; otherwise it is kept as a dead letter, and said once.

Either way the events before and after it are as they should be.
"""

from __future__ import annotations

import enum
import logging
from collections import OrderedDict, deque, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import UUID

import msgspec
import pytest
from freezegun import freeze_time

from dispatcher.errors import (
    DropEvent,
    EventTooLargeError,
    InvalidEventError,
    NotEncodableError,
    OutboxError,
    ProcessorError,
    SettingsError,
)
from dispatcher.event import MAX_NAME_CHARACTERS, Event
from dispatcher.outbox import MemoryOutbox
from dispatcher.testing import capture
from dispatcher.tracker import Tracker
from tests.support.broken import Broken
from tests.support.outboxes import events_in, make_tracker

NAN, INFINITY = float("nan"), float("inf")
MOMENT = datetime(2026, 11, 23, 13, 50, 44, tzinfo=UTC)


class Thing:
    def __repr__(self) -> str:
        return "<Thing 17, which took a query>"


class Nowhere(tzinfo):
    """A time zone whose own code fails."""

    def utcoffset(self, moment: datetime | None) -> timedelta:
        raise RuntimeError("no such zone")


class Text(str):
    """As Django's SafeString is."""


class Real(float):
    """As numpy's float64 is."""


class Color(enum.Enum):
    RED = "red"
    NAN = NAN


class Size(enum.IntEnum):
    LARGE = 3


Pair = namedtuple("Pair", ["left", "right"])


@dataclass
class Point:
    x: object
    tags: list[str] = dataclass_field(default_factory=list)


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


def own_parent(width: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    value.update({str(number): value for number in range(width)})
    return value


@dataclass(frozen=True)
class Bad:
    """One bad input.

    Args:
        send: Emits it.
        error: What strict raises.
        words: What the message holds: the thing, the value, the way out.
        kept: What of it the dead letter shows.
    """

    send: Callable[[Tracker], str]
    error: type[InvalidEventError]
    words: tuple[str, ...]
    kept: str = ""


def data(value: Any, *words: str, error: type[InvalidEventError] = NotEncodableError, kept: str = "") -> Bad:
    return Bad(lambda tracker: tracker.emit("bad.event", value), error, ("bad.event", *words), kept)


def name(value: Any, *words: str) -> Bad:
    return Bad(
        lambda tracker: tracker.emit(value, {"order": 17}),
        InvalidEventError,
        ("the event name", *words, "pass a short constant such as 'shop.order.paid'"),
        kept="{'order': 17}",
    )


def context(value: Any, *words: str) -> Bad:
    def send(tracker: Tracker) -> str:
        with tracker.context("request", {"user_id": 7}), tracker.context("more", value):
            return tracker.emit("bad.event", {"order": 17})

    return Bad(send, NotEncodableError, ("bad.event", *words), kept="{'order': 17}")


def submitted(*words: str, **options: Any) -> Bad:
    def send(tracker: Tracker) -> str:
        return tracker.submit("event", "bad.event", {"order": 17}, **options)

    return Bad(send, InvalidEventError, ("bad.event", *words), kept="{'order': 17}")


NOT_A_DICT = "the data of the event bad.event must be a dict, not"

CASES: dict[str, Bad] = {
    # Not a dict
    "text": data(
        "order=17",
        NOT_A_DICT,
        "not a str of 8 characters: ",
        "pass {'value': …}",
        error=InvalidEventError,
        kept="'order=17'",
    ),
    "a list": data([17], NOT_A_DICT, "a list: ", error=InvalidEventError, kept="[17]"),
    "a number": data(17, NOT_A_DICT, "an int: ", error=InvalidEventError, kept="17"),
    "false": data(False, NOT_A_DICT, "a bool: ", error=InvalidEventError, kept="False"),
    "bytes": data(b"\xff", NOT_A_DICT, "bytes", error=InvalidEventError, kept=r"b'\xff'"),
    "an object": data(Thing(), NOT_A_DICT, "a Thing: ", error=InvalidEventError, kept="<Thing>"),
    "a class": data(Thing, NOT_A_DICT, "type", error=InvalidEventError),
    "a mapping that fails": data(
        Broken(), "is a Broken that cannot be read (RuntimeError): pass a dict", error=InvalidEventError
    ),
    # Keys
    "a tuple key": data({("a", 1): 2}, "the key <a tuple> of data is a tuple; keys must be strings: pass str(key)"),
    "a None key": data({"x": {None: 2}}, "the key <a NoneType> of data['x'] is a NoneType; keys must be strings"),
    "an object as key": data({Thing(): 2}, "the key <a Thing> of data is a Thing; keys must be strings"),
    "a surrogate in a key": data({"a\ud800": 2}, r"the key <a str of 2 characters> of data holds the"),
    # Numbers
    "NaN": data({"a": NAN}, "data['a'] is nan, which JSON has no number for; pass None", kept="{'a': nan}"),
    "infinity": data({"a": INFINITY}, "data['a'] is inf"),
    "less than that": data({"a": -INFINITY}, "data['a'] is -inf"),
    "a nested NaN": data({"a": [None, {"b": (NAN,)}]}, "data['a'][1]['b'][0] is nan"),
    "a NaN of a subclass": data({"a": Real("nan")}, "data['a'] is nan"),
    "a NaN in a set": data({"a": {NAN}}, "data['a'] is a set with NaN or infinity in it"),
    "a NaN in a dataclass": data({"a": Point(NAN)}, "data['a'] is a Point", "with NaN or infinity in it"),
    "a NaN in an enumeration": data({"a": Color.NAN}, "data['a'] is a Color", "with NaN or infinity in it"),
    "too many digits": data({"a": 10**5000}, "data['a'] is an int", "pass it as text"),
    # Objects
    "a nested object": data({"a": [Thing()]}, "data['a'][0] is a Thing: ", "pass str(value), its id"),
    "objects in a set": data({"a": {Thing()}}, "data['a'] is a set: ", "pass a sorted list"),
    "an object in a dataclass": data({"a": Point(Thing())}, "data['a'] is a Point"),
    "a path": data({"a": Path("/x")}, "data['a'] is a PosixPath: "),
    "a complex number": data({"a": 1j}, "data['a'] is a complex: "),
    "an iterator": data({"a": iter([1])}, "data['a'] is a list_iterator"),
    "a deque": data({"a": deque([1])}, "data['a'] is a deque: "),
    "a frozen mapping": data({"a": MappingProxyType({})}, "data['a'] is a mappingproxy, not a dict; pass dict(value)"),
    "an error": data({"a": ValueError("x")}, "data['a'] is a ValueError: "),
    # Text
    "a surrogate": data(
        {"a": "x\udc80"}, r"data['a'] holds the lone surrogate \udc80 at character 1", "decode the text"
    ),
    # Shape
    "a cycle": data({"a": own_parent(1)}, "data['a']['0'] contains itself; pass the ids"),
    "a wide cycle": data(own_parent(200), "contains itself"),
    "depth 10 000": data(nested(10_000), "is nested more than 200 levels deep; flatten it"),
    "10 MB": data(
        {"a": "x" * 10_000_000},
        "is 10,000,1",
        "bytes of JSON, more than outbox.max_event_bytes (1,048,576)",
        "DISPATCHER_OUTBOX__MAX_EVENT_BYTES",
        error=EventTooLargeError,
        kept="xxx",
    ),
    "10 MB of nulls": data({"a": [None] * 2_000_000}, "more than outbox.max_event_bytes", error=EventTooLargeError),
    "10 MB with a NaN": data(
        {"a": [1.5] * 2_000_000 + [NAN]}, "data holds NaN or infinity, which JSON has no number for; pass None"
    ),
    "10 MB with an object": data({"a": ["x"] * 2_000_000 + [Thing()]}, "Encoding objects of type Thing is unsupported"),
    # Names
    "an empty name": name("", "is empty"),
    "no name": name(None, "(a NoneType) is not a string"),
    "a list for a name": name(["a"], "(a list) is not a string"),
    "a name of 10 KB": name("n" * 10_240, "(a str of 10,240 characters) ", "has 10,240 characters, more than 255"),
    "a name with newlines": name("a\nb", "(a str of 3 characters)", "holds a line break or another character"),
    "a name with a NUL": name("a\0b", "(a str of 3 characters)", "cannot be printed"),
    "a surrogate in a name": name("a\udc80", "(a str of 2 characters)", "cannot be printed"),
    # Contexts
    "an object in the context": context({"user": Thing()}, "context['user'] is a Thing: "),
    "a NaN in the context": context({"a": [NAN]}, "context['a'][0] is nan"),
    "a cycle in the context": context({"a": own_parent(200)}, "contains itself"),
    "a tuple key in the context": context({("a",): 1}, "the key <a tuple> of context is a tuple"),
    "a surrogate in the context": context({"a": "\udc80"}, "context['a'] holds the lone surrogate"),
    "depth 10 000 in the context": context(nested(10_000), "is nested more than 200 levels deep"),
    # What an import brings with it
    "text for a context": submitted("the context of the event", "must be a dict, not a str of 4 ch", context="user"),
    "a context that fails": submitted("the context of the event", "a Broken that cannot be read", context=Broken()),
    "a number for an id": submitted("the id of the event", "1 to 100 printable characters, not an int", event_id=17),
    "an empty id": submitted("not a str of 0 characters", "leave it out to have one made", event_id=""),
    "a long id": submitted("not a str of 101 characters", "1 to 100 printable", event_id="i" * 101),
    "a surrogate in an id": submitted("not a str of 1 characters", event_id="\udc80"),
    "text for a timestamp": submitted(
        "the timestamp of the event bad.event must be a datetime, not a str of 10 characters",
        "pass datetime.fromisoformat(text), or leave it out",
        timestamp="2026-11-23",
    ),
    "a date for a timestamp": submitted("must be a datetime, not a date", timestamp=date(2026, 11, 23)),
    "a timestamp before all times": submitted(
        "cannot be converted to UTC (OverflowError)",
        timestamp=datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
    ),
    "a time zone that fails": submitted(
        "cannot be converted to UTC (RuntimeError)", timestamp=MOMENT.replace(tzinfo=Nowhere())
    ),
}


def emit_around(tracker: Tracker, bad: Bad, times: int) -> list[str]:
    ids = [tracker.emit("good.event", {"when": "before"})]
    ids += [bad.send(tracker) for _ in range(times)]
    return [*ids, tracker.emit("good.event", {"when": "after"})]


@pytest.mark.parametrize("bad", CASES.values(), ids=CASES)
def test_strict_raises_an_error_with_the_place_the_value_and_a_remedy(bad: Bad) -> None:
    outbox = MemoryOutbox()
    tracker = Tracker(outbox=outbox, strict=True)
    tracker.emit("good.event")
    with pytest.raises(bad.error) as caught:
        bad.send(tracker)
    tracker.emit("good.event")
    assert type(caught.value) is bad.error
    for words in bad.words:
        assert words in str(caught.value)
    assert len(str(caught.value)) < 20_000
    assert len(outbox.payloads) == 2


@pytest.mark.parametrize("bad", CASES.values(), ids=CASES)
def test_otherwise_bad_input_becomes_a_dead_letter_and_is_logged_once(
    bad: Bad, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = make_tracker(tmp_path / "outbox")
    try:
        ids = emit_around(tracker, bad, times=2)
        before, *dead, after = events_in(tmp_path / "outbox")
    finally:
        tracker.close()
    assert [before.data, after.data] == [{"when": "before"}, {"when": "after"}]
    assert [event.id for event in (before, *dead, after)] == ids
    assert len(set(ids)) == 4
    for event in dead:
        assert event.type == "dead"
        assert event.name.isprintable()
        assert event.data["reason"] == bad.error.reason
        assert bad.kept in event.data["data"]
        assert bad.words[0] in event.data["error"]
    complaints = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(complaints) == 1
    assert "It was kept as a dead letter; more of this name and reason are not logged" in complaints[0]
    assert tracker.refused == 0


# What msgspec makes of values that JSON has no form for: ``data`` as it is emitted, and as a worker reads it.
FORMS: list[tuple[str, Any, Any]] = [
    ("text of a subclass", Text("a"), "a"),
    ("a float of a subclass", Real(1.5), 1.5),
    ("a whole number of any size", 2**70, 2**70),
    ("an aware datetime", datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), "2026-01-02T03:04:05.000006Z"),
    ("one elsewhere", datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=2))), "2026-01-02T03:00:00+02:00"),
    ("a naive datetime, without a zone", datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05"),
    ("a date", date(2026, 1, 2), "2026-01-02"),
    ("a time", time(3, 4), "03:04:00"),
    ("a duration, in ISO 8601", timedelta(days=1, seconds=2), "P1DT2S"),
    ("a Decimal, as text", Decimal("1.10"), "1.10"),
    ("a Decimal that is no number, as text", Decimal("NaN"), "NaN"),
    ("a UUID", UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ("bytes, in base64", b"\xff\x00", "/wA="),
    ("a bytearray", bytearray(b"ab"), "YWI="),
    ("a memoryview", memoryview(b"ab"), "YWI="),
    ("an enumeration, as its value", Color.RED, "red"),
    ("an enumeration of numbers", Size.LARGE, 3),
    ("a dataclass, as a dict", Point(1, ["a"]), {"x": 1, "tags": ["a"]}),
    ("a named tuple, as a list", Pair(1, 2), [1, 2]),
    ("a tuple, as a list", (1, (2,)), [1, [2]]),
    ("a set, as a list in any order", {1}, [1]),
    ("a frozen set", frozenset(["a"]), ["a"]),
    ("a dict of a subclass", OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    ("JSON that somebody has encoded", msgspec.Raw(b'{"a":null}'), {"a": None}),
    ("whole numbers as keys, as text", {1: "a", -2: "b"}, {"1": "a", "-2": "b"}),
    ("other numbers as keys", {1.5: "a", Decimal("2.0"): "b"}, {"1.5": "a", "2.0": "b"}),
    ("true and false as keys", {True: 1, False: 0}, {"true": 1, "false": 0}),
    ("NaN as a key, as text", {NAN: 1}, {"nan": 1}),
    ("dates, UUIDs and enumerations as keys", {date(2026, 1, 2): 1, Color.RED: 2}, {"2026-01-02": 1, "red": 2}),
    ("bytes as keys, in base64", {b"ab": 1}, {"YWI=": 1}),
    ("keys of a subclass of text", {Text("a"): 1}, {"a": 1}),
]


@pytest.mark.parametrize(("value", "form"), [form[1:] for form in FORMS], ids=[form[0] for form in FORMS])
def test_near_equivalents_are_accepted(value: Any, form: Any) -> None:
    with capture() as captured, Tracker.context("request", {"value": value}):
        from dispatcher import tracker

        tracker.emit("good.event", {"value": value, "none": None})
        tracker.emit("good.event", {"value": value})
    assert [event.data["value"] for event in captured.events] == [form, form]
    assert [event.context["value"] for event in captured.events] == [form, form]


@pytest.mark.parametrize("data", [None, {}, OrderedDict(), MappingProxyType({})], ids=repr)
def test_no_data_is_an_empty_dict(data: Any) -> None:
    with capture() as captured:
        from dispatcher import tracker

        tracker.emit("good.event", data)
    assert captured.one("good.event").data == {}


def test_very_deep_nesting_is_accepted() -> None:
    with capture() as captured:
        from dispatcher import tracker

        tracker.emit("good.event", nested(200))
    assert captured.one("good.event").data == nested(200)


def test_the_longest_name_is_accepted_and_a_longer_one_is_not() -> None:
    tracker = Tracker(outbox=MemoryOutbox(), strict=True)
    tracker.emit("ä" * MAX_NAME_CHARACTERS)
    with pytest.raises(InvalidEventError, match="has 256 characters"):
        tracker.emit("n" * (MAX_NAME_CHARACTERS + 1))


def test_a_subclass_of_str_is_a_valid_name() -> None:
    tracker = Tracker(outbox=(outbox := MemoryOutbox()), strict=True)
    tracker.emit(Text("shop.order.paid"))
    assert msgspec.json.decode(outbox.payloads[0])["name"] == "shop.order.paid"


def test_text_is_valid_data_for_browser_events_only() -> None:
    tracker = Tracker(outbox=(outbox := MemoryOutbox()), strict=True)
    text: Any = '{"id":"block-1"}'
    with tracker.context("browser", {"event_source": "browser"}):
        tracker.emit("page_close", text)
        with pytest.raises(InvalidEventError, match="must be a dict, not a bytes"):
            tracker.emit("page_close", b"{}")  # type: ignore[arg-type]
    with (
        tracker.context("server", {"event_source": "server"}),
        pytest.raises(InvalidEventError, match="must be a dict, not a str"),
    ):
        tracker.emit("page_close", text)
    with pytest.raises(InvalidEventError, match="must be a dict, not a str"):
        tracker.submit("track", "page_close", text, context={"event_source": "browser"})
    assert [msgspec.json.decode(payload)["data"] for payload in outbox.payloads] == [text]


def test_each_name_and_reason_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    tracker = Tracker(outbox=MemoryOutbox())
    for _ in range(3):
        tracker.emit("a", {"x": Thing()})
        tracker.emit("b", {"x": Thing()})
        tracker.emit("a", "text")  # type: ignore[arg-type]
    assert [record.getMessage()[:40] for record in caplog.records] == [
        "the event a cannot be encoded: data['x']",
        "the event b cannot be encoded: data['x']",
        "the data of the event a must be a dict, ",
    ]


def test_a_warning_is_one_line_for_any_name(caplog: pytest.LogCaptureFixture) -> None:
    Tracker(outbox=MemoryOutbox()).emit("a\r\nERROR forged\x1b[2J", {"x": "y"})
    assert caplog.records[0].getMessage().isprintable()


def test_a_dead_letter_keeps_the_context_and_the_time_of_the_event() -> None:
    tracker = Tracker(outbox=(outbox := MemoryOutbox()))
    with tracker.context("request", {"user_id": 7}):
        tracker.submit("event", "bad.event", {"x": NAN}, timestamp=MOMENT)
    letter = msgspec.json.decode(outbox.payloads[0])
    assert letter["context"] == {"user_id": 7}
    assert letter["timestamp"] == "2026-11-23T13:50:44Z"
    assert letter["name"] == "bad.event"


@pytest.mark.parametrize("limit", [1_000, 20_000, 1 << 20])
@pytest.mark.parametrize(
    "value",
    [{"a": "x" * 3_000_000}, {"a": "\U0001f600" * 800_000}, {"a": '"\\' * 800_000}, {"a": ["\0" * 99] * 9_999}],
    ids=["plain", "astral", "escaped", "control characters"],
)
def test_a_dead_letter_keeps_within_the_event_size_limit(limit: int, value: Any, tmp_path: Path) -> None:
    tracker = make_tracker(tmp_path, max_event_bytes=limit)
    tracker.emit("good.event")
    with tracker.context("request", {"agent": "y" * 3_000_000}):
        tracker.emit("bad.event", value)
    tracker.emit("good.event")
    good, bad, last = events_in(tmp_path)
    tracker.close()
    assert (good.name, bad.type, last.name) == ("good.event", "dead", "good.event")
    assert bad.data["reason"] == "too_large"
    assert len(bad.data["data"]) <= limit


def failing(event: Event) -> Event:
    raise RuntimeError(f"cannot redact {event.data}")


def returning_nothing(event: Event) -> Event:
    return None  # type: ignore[return-value]


def returning_a_dict(event: Event) -> Event:
    return {"id": event.id, "name": event.name}  # type: ignore[return-value]


def adding_an_object(event: Event) -> Event:
    return msgspec.structs.replace(event, data={**event.data, "x": Thing()})


def adding_nan(event: Event) -> Event:
    return msgspec.structs.replace(event, context={"x": NAN})


def spoiling_the_name(event: Event) -> Event:
    return msgspec.structs.replace(event, name="a\nb")


def spoiling_the_id(event: Event) -> Event:
    return msgspec.structs.replace(event, id=17)


def spoiling_the_context(event: Event) -> Event:
    return msgspec.structs.replace(event, context=[1])


PROCESSORS = [
    failing,
    returning_nothing,
    returning_a_dict,
    adding_an_object,
    adding_nan,
    spoiling_the_name,
    spoiling_the_id,
    spoiling_the_context,
]


@pytest.mark.parametrize("processor", PROCESSORS)
def test_strict_names_a_failing_processor(processor: Callable[[Event], Event]) -> None:
    tracker = Tracker(outbox=(outbox := MemoryOutbox()), processors=[processor], strict=True)
    with pytest.raises(ProcessorError, match=rf"the processor '{processor.__name__}' failed on the event bad.event"):
        tracker.emit("bad.event", {"password": "hunter2"})
    assert outbox.payloads == []


@pytest.mark.parametrize("processor", PROCESSORS)
def test_otherwise_a_failing_processors_event_keeps_no_data(
    processor: Callable[[Event], Event], caplog: pytest.LogCaptureFixture
) -> None:
    def only_bad(event: Event) -> Event:
        return processor(event) if event.name == "bad.event" else event

    tracker = Tracker(outbox=(outbox := MemoryOutbox()), processors=[only_bad])
    with tracker.context("request", {"email": "ada@example.org"}):
        ids = [tracker.emit(name, {"password": "hunter2"}) for name in ("good", "bad.event", "bad.event", "good")]
    events = [msgspec.json.decode(payload, type=Event) for payload in outbox.payloads]
    assert [event.id for event in events] == ids
    assert [event.type for event in events] == ["event", "dead", "dead", "event"]
    for event in events[1:3]:
        assert event.data["reason"] == "processor_failed"
        assert event.data["data"] == ""
        assert event.context == {}
    assert not any(b"hunter2" in payload or b"ada@" in payload for payload in outbox.payloads[1:3])
    assert len(caplog.records) == 1
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize("reason", ["bot", "a\udc80", 17, None, Thing()], ids=repr)
def test_a_dropped_event_keeps_only_its_reason(reason: Any, caplog: pytest.LogCaptureFixture) -> None:
    def drop(event: Event) -> Event:
        raise DropEvent(reason)

    for strict in (True, False):
        tracker = Tracker(outbox=(outbox := MemoryOutbox()), processors=[drop], strict=strict)
        with tracker.context("request", {"email": "ada@example.org"}):
            event_id = tracker.emit("shop.order.paid", {"password": "hunter2"})
        (event,) = [msgspec.json.decode(payload, type=Event) for payload in outbox.payloads]
        assert (event.id, event.type, event.name) == (event_id, "dropped", "shop.order.paid")
        # What is no text may be somebody's object, whose text is data.
        kept = reason.encode("utf-8", "backslashreplace").decode() if isinstance(reason, str) else "processor"
        assert event.data == {"reason": kept}
        assert event.context == {}
    assert not caplog.records


def test_strict_raises_if_the_outbox_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    tracker = make_tracker(tmp_path / "file" / "outbox", strict=True)
    for _ in range(2):
        with pytest.raises(
            OutboxError,
            match=r"file/outbox cannot be used: Not a directory; .*/file is a file: move it away",
        ):
            tracker.emit("good.event")


def test_otherwise_events_are_refused_counted_and_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    tracker = make_tracker(tmp_path / "file" / "outbox")
    ids = {tracker.emit("good.event", {"n": n}) for n in range(100)}
    assert len(ids) == 100
    assert tracker.refused == 100
    (record,) = caplog.records
    assert "events are refused, since there is no outbox: the outbox directory" in record.getMessage()
    assert "cannot be used: Not a directory" in record.getMessage()


def test_unusable_settings_are_logged_and_events_refused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DISPATCHER_OUTBX__MAX_BYTES", "5")
    tracker = Tracker()
    assert tracker.emit("good.event")
    assert tracker.refused == 1
    assert "did you mean" in caplog.records[0].getMessage()
    with pytest.raises(SettingsError, match="OUTBX"):
        Tracker(strict=True).emit("good.event")


def test_a_nan_where_the_data_of_the_shortest_event_begin_is_found() -> None:
    one = Tracker(outbox=MemoryOutbox(), strict=True)
    with freeze_time("2026-11-23 13:50:44"):
        one.emit("x", {})
        with pytest.raises(InvalidEventError, match="is nan"):
            one.emit("x", {"": NAN})
