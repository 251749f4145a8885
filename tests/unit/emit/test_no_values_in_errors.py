"""Errors of emit, and its log, name the thing, the type and the path of what is wrong: never a value of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from typing import Any

import msgspec
import pytest

from dispatcher.emit.processors import Processor
from dispatcher.errors import InvalidEventError
from dispatcher.event import Event
from dispatcher.outbox.memory import MemoryOutbox
from dispatcher.tracker import Tracker

MARK = "hush"
ADDRESS = "ada.hush@example.org"


class Marked:
    """Its text, repr, and each of its errors hold the mark."""

    def __repr__(self) -> str:
        return MARK

    __str__ = __repr__


class Failing(dict[str, Any]):
    """A mapping whose own code raises with the mark."""

    def keys(self) -> Any:
        raise RuntimeError(MARK)

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError(MARK)

    items = values = __len__ = keys


@dataclass
class Lazy:
    """A dataclass with a value that has no JSON form."""

    inside: Any


class Nowhere(tzinfo):
    """A time zone whose code raises with the mark."""

    def utcoffset(self, _moment: datetime | None) -> Any:
        raise RuntimeError(MARK)


def redact(event: Event) -> Event:
    raise ValueError(f"{MARK} {event.data}")


def rename(event: Event) -> Event:
    return msgspec.structs.replace(event, name=f"{MARK}\n{ADDRESS}")


BAD: dict[str, Callable[[Tracker], object]] = {
    "data is a text": lambda t: t.emit("a.b", f"{MARK} {ADDRESS}"),
    "data is a list": lambda t: t.emit("a.b", [MARK]),
    "data is bytes": lambda t: t.emit("a.b", MARK.encode()),
    "data is an object": lambda t: t.emit("a.b", Marked()),
    "data fails": lambda t: t.emit("a.b", Failing()),
    "an object": lambda t: t.emit("a.b", {"user": {"x": Marked()}}),
    "an error": lambda t: t.emit("a.b", {"x": ValueError(MARK)}),
    "a set": lambda t: t.emit("a.b", {"x": {MARK, Marked()}}),
    "a dataclass": lambda t: t.emit("a.b", {"x": Lazy(Marked()), "y": MARK}),
    "a surrogate": lambda t: t.emit("a.b", {"x": f"{MARK}\udc80"}),
    "NaN beside it": lambda t: t.emit("a.b", {"x": MARK, "y": float("nan")}),
    "a key with an address": lambda t: t.emit("a.b", {ADDRESS: object()}),
    "a key of a tuple": lambda t: t.emit("a.b", {(MARK,): 1}),
    "a key of an object": lambda t: t.emit("a.b", {Marked(): 1}),
    "a key with a surrogate": lambda t: t.emit("a.b", {f"{MARK}\udc80": 1}),
    "too large": lambda t: t.emit("a.b", {"x": MARK * 1_000_000}),
    "a name with a line break": lambda t: t.emit(f"{MARK}\n", {}),
    "a name with an address": lambda t: t.emit(ADDRESS, {"x": object()}),
    "a long name": lambda t: t.emit(MARK * 100, {}),
    "a name of a list": lambda t: t.emit([MARK], {}),
    "an id": lambda t: t.submit("event", "a.b", {}, event_id=f"{MARK}\n"),
    "a long id": lambda t: t.submit("event", "a.b", {}, event_id=MARK * 100),
    "a timestamp of text": lambda t: t.submit("event", "a.b", {}, timestamp=MARK),
    "a timestamp of an object": lambda t: t.submit("event", "a.b", {}, timestamp=Marked()),
    "a time of nowhere": lambda t: t.submit("event", "a.b", {}, timestamp=datetime(2026, 1, 1, tzinfo=Nowhere())),
    "a context of text": lambda t: t.submit("event", "a.b", {}, context=MARK),
    "a context that fails": lambda t: t.submit("event", "a.b", {}, context=Failing()),
    "a date": lambda t: t.submit("event", "a.b", {"x": MARK}, timestamp=date(2026, 1, 1)),
}


def shown(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        if isinstance(error, InvalidEventError):
            yield f"{error} {error!r} {error.args} {error.event_name}"
        error = error.__cause__


@pytest.mark.parametrize("send", BAD.values(), ids=BAD)
def test_no_error_of_emit_and_no_log_holds_a_value(
    send: Callable[[Tracker], object], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    with pytest.raises(InvalidEventError) as caught:
        send(Tracker(outbox=MemoryOutbox(), strict=True))
    send(Tracker(outbox=(outbox := MemoryOutbox()), strict=False))

    [letter] = [msgspec.json.decode(payload) for payload in outbox.payloads]
    texts = [*shown(caught.value), letter["name"], letter["data"]["error"], letter["data"]["reason"]]
    assert caplog.records
    for text in [*texts, caplog.text]:
        assert MARK not in text, text
        assert "\n" not in text.strip(), text


@pytest.mark.parametrize("processor", [redact, rename], ids=["raises", "returns"])
def test_no_error_of_a_processor_is_quoted(processor: Processor, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(InvalidEventError) as caught:
        Tracker(outbox=MemoryOutbox(), strict=True, processors=[processor]).emit("a.b", {"x": ADDRESS})
    Tracker(outbox=MemoryOutbox(), processors=[processor]).emit("a.b", {"x": ADDRESS})

    assert MARK not in " ".join(shown(caught.value))
    assert MARK not in caplog.text


def test_a_long_key_and_a_deep_place_are_named_by_their_types() -> None:
    with pytest.raises(InvalidEventError, match=r"data\['users'\]\[3\]\[<a str of 20 characters>\] is an object"):
        Tracker(outbox=MemoryOutbox(), strict=True).emit("a.b", {"users": [1, 2, 3, {ADDRESS: object()}]})
