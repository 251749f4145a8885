"""A value of a subclass arrives as one of its base: as a value, a key, in a list, in a context, as a timestamp."""

from __future__ import annotations

import dataclasses
import enum
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy
import pendulum
import pytest
from django.utils.datastructures import MultiValueDict
from django.utils.functional import lazy
from django.utils.safestring import mark_safe
from freezegun.api import FakeDate, FakeDatetime

from dispatcher.errors import InvalidEventError
from dispatcher.event import Event, decode
from dispatcher.outbox import MemoryOutbox
from dispatcher.tracker import Tracker

WHEN = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)


def own(base: Any) -> Any:
    """A subclass whose own methods nobody may rely on."""

    def fail(*_: Any) -> Any:
        raise RuntimeError("the subclass was asked")

    names = ["__str__", "__repr__", "__format__", "__getitem__", "keys", "items", "values"]
    # The encoder goes through a set, as it has no order, by its own way.
    names += [] if issubclass(base, set | frozenset) else ["__iter__"]
    return type(f"Own{base.__name__}", (base,), dict.fromkeys(names, fail))


class OwnEnum(enum.Enum):
    DECIMAL = own(Decimal)("1.10")


class OwnStrEnum(enum.StrEnum):
    NAME = "shop.order.paid"


@dataclasses.dataclass
class Order:
    total: Any


def emit(data: Any, context: Any = None, **options: Any) -> list[Event]:
    outbox = MemoryOutbox()
    tracker = Tracker(outbox=outbox, strict=True)
    with tracker.context("request", context or {}):
        tracker.submit("event", "shop.order.paid", data, **options)
        tracker.emit("shop.order.paid", data)
    return [decode(payload) for payload in outbox.payloads]


# What may be a key as well.
HASHABLE: dict[str, tuple[Any, Any]] = {
    "text": (own(str)("a"), "a"),
    "Django's safe text": (mark_safe("<b>"), "<b>"),
    "Django's lazy text": (lazy(lambda: "lazy", str)(), "lazy"),
    "numpy's text": (numpy.str_("a"), "a"),
    "a datetime": (own(datetime)(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), "2026-01-02T03:04:05.000006Z"),
    "a naive datetime": (own(datetime)(2026, 1, 2), "2026-01-02T00:00:00"),
    "a date": (own(date)(2026, 1, 2), "2026-01-02"),
    "a time": (own(time)(3, 4, tzinfo=UTC), "03:04:00Z"),
    "a timedelta": (own(timedelta)(days=-1, seconds=5), "-PT86395S"),
    "pendulum's datetime": (pendulum.datetime(2026, 7, 1, tz="Europe/Paris"), "2026-07-01T00:00:00+02:00"),
    "pendulum's date": (pendulum.date(2026, 1, 2), "2026-01-02"),
    "pendulum's time": (pendulum.time(3, 4), "03:04:00"),
    "pendulum's duration": (pendulum.duration(days=-1, hours=-3), "-P1DT10800S"),
    "freezegun's datetime": (FakeDatetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00Z"),
    "freezegun's date": (FakeDate(2026, 1, 2), "2026-01-02"),
    "numpy's datetime": (numpy.datetime64("2026-01-02T03:04:05.123456789"), "2026-01-02T03:04:05.123456"),
    "numpy's date": (numpy.datetime64("2026-01-02"), "2026-01-02"),
    "numpy's timedelta": (numpy.timedelta64(90_000_000_001, "ns"), "PT90S"),
    "a Decimal": (own(Decimal)("1.10"), "1.10"),
    "bytes": (own(bytes)(b"\xff\x00"), "/wA="),
    "numpy's bytes": (numpy.bytes_(b"ab"), "YWI="),
    "a UUID": (own(UUID)(int=5), "00000000-0000-0000-0000-000000000005"),
    "a member whose value is of a subclass": (OwnEnum.DECIMAL, "1.10"),
    "a member of a StrEnum": (OwnStrEnum.NAME, "shop.order.paid"),
}
NUMBERS: dict[str, tuple[Any, Any, str]] = {
    "an int": (own(int)(3), 3, "3"),
    "a float": (own(float)(1.5), 1.5, "1.5"),
    "numpy's int64": (numpy.int64(-3), -3, "-3"),
    "numpy's uint8": (numpy.uint8(255), 255, "255"),
    "numpy's uint64": (numpy.uint64(2**64 - 1), 2**64 - 1, str(2**64 - 1)),
    "numpy's float16": (numpy.float16(1.5), 1.5, "1.5"),
    "numpy's float32": (numpy.float32(0.1), 0.10000000149011612, "0.10000000149011612"),
    "numpy's float64": (numpy.float64(0.1), 0.1, "0.1"),
    "numpy's longdouble": (numpy.longdouble(1.5), 1.5, "1.5"),
    "numpy's bool": (numpy.bool_(True), True, "true"),
    "a member of an IntFlag": (enum.IntFlag("Flags", ["A", "B"])(3), 3, "3"),
}
OTHERS: dict[str, tuple[Any, Any]] = {
    "a bytearray": (own(bytearray)(b"ab"), "YWI="),
    "a list": (own(list)([own(Decimal)(1)]), ["1"]),
    "a tuple": (own(tuple)([own(Decimal)(1)]), ["1"]),
    "a set": (own(set)([own(Decimal)(1)]), ["1"]),
    "a frozenset": (own(frozenset)([own(Decimal)(1)]), ["1"]),
    "a dict": (own(dict)(a=own(Decimal)(1)), {"a": "1"}),
    "an OrderedDict": (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    "a defaultdict": (defaultdict(list, a=[1]), {"a": [1]}),
    "a Counter": (Counter("aab"), {"a": 2, "b": 1}),
    "Django's MultiValueDict": (MultiValueDict({"a": ["1", "2"]}), {"a": ["1", "2"]}),
    "a dataclass": (Order(own(Decimal)("1.10")), {"total": "1.10"}),
}
VALUES = [
    *((value, form) for value, form in HASHABLE.values()),
    *((value, form) for value, form, _ in NUMBERS.values()),
    *OTHERS.values(),
]
IDS = [*HASHABLE, *NUMBERS, *OTHERS]
KEYS = [*HASHABLE.values(), *((value, text) for value, _, text in NUMBERS.values())]


@pytest.mark.parametrize(("value", "form"), VALUES, ids=IDS)
def test_a_value_of_a_subclass_arrives_as_one_of_its_base(value: Any, form: Any) -> None:
    # With a null beside it, each value is looked into for NaN.
    data = {"value": value, "list": [value], "inside": {"value": (value, None)}}
    for event in emit(data, {"value": value, "list": [value]}):
        assert event.data == {"value": form, "list": [form], "inside": {"value": [form, None]}}
        assert event.context == {"value": form, "list": [form]}
        assert str(event.data["value"]) == str(form)  # 1 == True


@pytest.mark.parametrize(("key", "text"), KEYS, ids=[*HASHABLE, *NUMBERS])
def test_a_key_of_a_subclass_becomes_text_as_one_of_its_base(key: Any, text: str) -> None:
    for event in emit({"inside": {key: 1}, key: None}, {key: 2}):
        assert event.data == {"inside": {text: 1}, text: None}
        assert event.context == {text: 2}


class Nowhere(tzinfo):
    """A zone that is five hours ahead, and of a type of its own."""

    def utcoffset(self, _: datetime | None) -> timedelta:
        return timedelta(hours=5)


@pytest.mark.parametrize(
    "when",
    [
        own(datetime)(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
        own(datetime)(2026, 1, 2, 3, 4, 5, 6),
        own(datetime)(2026, 1, 2, 8, 4, 5, 6, tzinfo=Nowhere()),
        pendulum.datetime(2026, 1, 2, 4, 4, 5, 6, tz="Europe/Paris"),
        FakeDatetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
    ],
    ids=["utc", "naive", "zone", "pendulum", "freezegun"],
)
def test_a_timestamp_of_a_subclass_is_taken(when: datetime) -> None:
    event = emit({}, timestamp=when)[0]
    assert event.timestamp == WHEN
    assert type(event.timestamp) is datetime


def test_names_and_ids_of_a_subclass_are_taken() -> None:
    outbox = MemoryOutbox()
    tracker = Tracker(outbox=outbox, strict=True)
    for name in (own(str)("shop.order.paid"), OwnStrEnum.NAME):
        tracker.emit(name)
        tracker.submit("event", name, {}, event_id=own(str)("7"))
    assert {decode(payload).name for payload in outbox.payloads} == {"shop.order.paid"}
    assert [decode(payload).id for payload in outbox.payloads][1::2] == ["7", "7"]


def test_times_of_pandas_arrive_as_those_of_the_standard_library() -> None:
    pandas = pytest.importorskip("pandas")
    when = pandas.Timestamp("2026-01-02T03:04:05.000006789", tz="UTC")
    event = emit({"when": when, "took": pandas.Timedelta("1 days 2 s"), when: 1}, timestamp=when)[0]
    assert event.data == {"when": "2026-01-02T03:04:05.000006Z", "took": "P1DT2S", "2026-01-02T03:04:05.000006Z": 1}
    assert event.timestamp == WHEN
    for missing in (pandas.NaT, pandas.NA):
        with pytest.raises(InvalidEventError, match=r"data\['when'\]"):
            emit({"when": missing})
    with pytest.raises(InvalidEventError, match="timestamp"):
        emit({}, timestamp=pandas.NaT)


@pytest.mark.parametrize(
    "make",
    [
        lambda: numpy.float32("nan"),
        lambda: numpy.float16("inf"),
        lambda: numpy.datetime64("NaT"),
        lambda: numpy.timedelta64("NaT"),
        lambda: numpy.complex64(1),
        lambda: numpy.array([1]),
        lambda: numpy.array(1),
        lambda: own(float)("nan"),
    ],
)
def test_what_is_no_number_or_time_is_refused_with_its_place(make: Callable[[], Any]) -> None:
    with pytest.raises(InvalidEventError, match=r"data\['a'\]\[0\]"):
        emit({"a": [make()]})
