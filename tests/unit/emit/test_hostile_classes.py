"""Hostile classes: a value whose class or methods raise makes a dead letter; emit raises nothing of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from dispatcher import segment
from dispatcher.errors import DropEvent, InvalidEventError
from dispatcher.event import Event
from dispatcher.outbox.memory import MemoryOutbox
from dispatcher.outcomes import PROCESSOR, PROCESSOR_FAILED
from dispatcher.tracker import Tracker

MARK = "hush"


def fail(*_: object) -> Any:
    raise RuntimeError(MARK)


def make_values() -> dict[str, object]:
    """Values by what is hostile about them. Made here, since pytest looks into each class of a module."""

    class Nameless(type):
        __name__ = property(fail)  # type: ignore[assignment]
        __module__ = property(fail)  # type: ignore[assignment]

    class Closed(type):
        __getattribute__ = __hash__ = __repr__ = fail  # type: ignore[assignment]

    class WithoutName(metaclass=Nameless):
        pass

    class WithoutAttributes(metaclass=Closed):
        pass

    class WithoutAnything:
        __class__ = property(fail)  # type: ignore[assignment]
        __repr__ = __str__ = __hash__ = __bool__ = __len__ = __iter__ = __eq__ = __getattr__ = fail  # type: ignore[assignment]

    class Text(str, metaclass=Nameless):
        __repr__ = __str__ = __hash__ = __len__ = __eq__ = fail  # type: ignore[assignment]

    class FailureError(Exception, metaclass=Nameless):
        pass

    class Table(dict[str, Any]):
        def __iter__(self) -> Any:
            raise FailureError(MARK)

        keys = items = __iter__

    return {
        "a metaclass without a name": WithoutName(),
        "a metaclass without attributes": WithoutAttributes(),
        "an object without anything": WithoutAnything(),
        "such a class": WithoutName,
        "a closed class": WithoutAttributes,
        "an error without a name": FailureError(MARK),
        "a dict that raises one": Table(a=1),
        "text": Text("kept"),
    }


VALUES = make_values()
HOSTILE = [kind for kind in VALUES if kind != "text"]
PLACES: dict[str, Callable[[Tracker, Any], object]] = {
    "data": lambda t, v: t.emit("a.b", v),
    "a value": lambda t, v: t.emit("a.b", {"x": v}),
    "an item": lambda t, v: t.emit("a.b", {"x": [v], "y": (v,)}),
    "a name": lambda t, v: t.emit(v, {}),
    "a time": lambda t, v: t.submit("event", "a.b", {}, timestamp=v),
    "an id": lambda t, v: t.submit("event", "a.b", {}, event_id=v),
    "a context": lambda t, v: t.submit("event", "a.b", {}, context=v),
    "in a context": lambda t, v: t.submit("event", "a.b", {}, context={"x": v}),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("put", PLACES.values(), ids=PLACES)
def test_a_class_that_raises_costs_its_event_alone(
    put: Callable[[Tracker, Any], object], kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = Tracker(outbox=(outbox := MemoryOutbox()), strict=False)
    tracker.emit("a.before", {})

    put(tracker, VALUES[kind])
    tracker.emit("a.after", {})

    events = [msgspec.json.decode(payload) for payload in outbox.payloads]
    assert [event["name"] for event in (events[0], events[-1])] == ["a.before", "a.after"]
    assert len(events) == 3
    assert MARK not in caplog.text + str(events)


@pytest.mark.parametrize("kind", HOSTILE)
def test_strict_raises_its_own_error_alone(kind: str) -> None:
    with pytest.raises(InvalidEventError) as caught:
        Tracker(outbox=MemoryOutbox(), strict=True).emit("a.b", VALUES[kind])  # type: ignore[arg-type]

    assert MARK not in str(caught.value)


CALLS: dict[str, Callable[[Any], object]] = {
    "a user": lambda v: segment.track(v, "E"),
    "an anonymous user": lambda v: segment.identify(None, anonymous_id=v),
    "a title": lambda v: segment.page(1, v),
    "a category": lambda v: segment.screen(1, "a", category=v),
    "a group": lambda v: segment.group(1, v),
    "an alias": lambda v: segment.alias(v, 1),
    "a context": lambda v: segment.track(1, "E", context=v),
    "integrations": lambda v: segment.track(1, "E", integrations=v),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_call_to_segment_with_such_a_class_costs_itself_alone(
    call: Callable[[Any], object], kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = Tracker(outbox=(outbox := MemoryOutbox()), strict=False)
    monkeypatch.setattr("dispatcher.tracker.get_tracker", lambda: tracker)

    call(VALUES[kind])

    (event,) = [msgspec.json.decode(payload) for payload in outbox.payloads]
    # A dict is read as one, whatever its class makes of its methods; but it is no user.
    assert (event["type"] == "dead") is (kind != "a dict that raises one" or call is CALLS["a user"])
    assert MARK not in caplog.text + str(event)


@pytest.mark.parametrize("kind", VALUES)
def test_a_context_of_such_a_class_is_refused_in_words_of_ours(kind: str) -> None:
    tracker = Tracker(outbox=MemoryOutbox(), strict=False)

    with pytest.raises(TypeError, match=r"the context 'request' must be a dict") as caught:
        tracker.enter_context("request", VALUES[kind])  # type: ignore[arg-type]
    assert MARK not in str(caught.value)


class UnfinishedDrop(DropEvent):
    def __init__(self) -> None:
        pass


@pytest.mark.parametrize("kind", VALUES)
def test_an_event_is_dropped_whatever_the_reason_is(kind: str) -> None:
    def drop(_: Event) -> Event:
        raise DropEvent(VALUES[kind])  # type: ignore[arg-type]

    tracker = Tracker(outbox=(outbox := MemoryOutbox()), processors=[drop], strict=False)
    tracker.emit("a.b", {})

    (event,) = [msgspec.json.decode(payload) for payload in outbox.payloads]
    assert (event["type"], event["data"]["reason"]) == ("dropped", "kept" if kind == "text" else PROCESSOR)


def test_a_drop_of_a_class_that_sets_no_reason_counts_as_the_processors() -> None:
    def drop(_: Event) -> Event:
        raise UnfinishedDrop

    tracker = Tracker(outbox=(outbox := MemoryOutbox()), processors=[drop], strict=False)
    tracker.emit("a.b", {})

    assert msgspec.json.decode(outbox.payloads[0])["data"] == {"reason": PROCESSOR}


def test_nothing_of_an_event_is_kept_where_a_processor_has_no_name() -> None:
    class Redact:
        __name__ = property(fail)  # type: ignore[assignment]

        def __call__(self, event: Event) -> Event:
            raise ValueError(MARK)

    tracker = Tracker(outbox=(outbox := MemoryOutbox()), processors=[Redact()], strict=False)
    tracker.emit("a.b", {"email": "grace@example.org"})

    assert msgspec.json.decode(outbox.payloads[0])["data"]["reason"] == PROCESSOR_FAILED
    assert b"grace" not in outbox.payloads[0]


def test_text_of_a_nameless_class_is_text() -> None:
    tracker = Tracker(outbox=(outbox := MemoryOutbox()), strict=True)

    tracker.emit("a.b", {"x": VALUES["text"]})

    assert msgspec.json.decode(outbox.payloads[0])["data"] == {"x": "kept"}
