"""The tracker of event-tracking's API: what it emits, and with which contexts."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest

from dispatcher import tracker as ours
from dispatcher.contrib.eventtracking import tracker
from dispatcher.contrib.eventtracking.dispatcher_backend import DispatcherBackend
from dispatcher.contrib.eventtracking.locator import DefaultContextLocator, ThreadLocalContextLocator
from dispatcher.contrib.eventtracking.tracker import Tracker
from dispatcher.testing import Captured


class Memory:
    """A backend that keeps what it gets."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def send(self, event: Any) -> None:
        self.events.append(event)


LOCATORS = pytest.mark.parametrize("locator", [DefaultContextLocator, ThreadLocalContextLocator])


@pytest.fixture
def default(monkeypatch: pytest.MonkeyPatch) -> Tracker:
    """The default tracker of a process where none was registered."""
    monkeypatch.delitem(tracker.TRACKERS, "default", raising=False)
    made = tracker.get_tracker()
    monkeypatch.setitem(tracker.TRACKERS, "default", made)
    return made


def test_without_a_tracker_events_go_to_dispatcher(default: Tracker, emitted_events: Captured) -> None:
    with default.context("request", {"user_id": 7}):
        tracker.emit("edx.course.enrollment.activated", {"course_id": "c"})
    event = emitted_events.one("edx.course.enrollment.activated", course_id="c")
    assert (event.context, event.type) == ({"user_id": 7}, "event")
    assert tracker.get_tracker() is default


def test_another_name_is_known_once_it_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyError, match="mobile"):
        tracker.get_tracker("mobile")
    mobile = Tracker({})
    monkeypatch.setitem(tracker.TRACKERS, "mobile", mobile)
    tracker.register_tracker(mobile, "mobile")
    assert tracker.get_tracker("mobile") is mobile


@LOCATORS
def test_a_backend_gets_name_time_data_and_context(locator: type) -> None:
    memory, began = Memory(), datetime.now(UTC)
    made = Tracker({"memory": memory}, locator())
    made.enter_context("request", {"user_id": 7})
    try:
        made.emit("a", {"n": 1})
        made.emit()
    finally:
        made.exit_context("request")
    first, second = memory.events
    assert first == {"name": "a", "timestamp": first["timestamp"], "data": {"n": 1}, "context": {"user_id": 7}}
    assert (second["name"], second["data"]) == ("unknown", {})
    assert began <= first["timestamp"] <= second["timestamp"]


@LOCATORS
def test_a_later_context_wins_key_by_key(locator: type) -> None:
    made = Tracker({}, locator())
    with made.context("outer", {"a": 1, "b": 1}), made.context("inner", {"b": 2}):
        assert made.resolve_context() == {"a": 1, "b": 2}
        made.enter_context("outer", {"b": 3, "c": 3})  # stays where it stands
        assert made.resolve_context() == {"b": 2, "c": 3}
    assert made.resolve_context() == {}


@LOCATORS
def test_a_context_of_the_same_name_is_back_after_the_block(locator: type) -> None:
    made = Tracker({}, locator())
    with made.context("request", {"a": 1}):
        with suppress(ValueError), made.context("request", {"b": 2}):
            assert made.resolve_context() == {"b": 2}
            raise ValueError
        assert made.resolve_context() == {"a": 1}
        made.exit_context("request")  # inside its own block
    assert made.resolve_context() == {}
    with pytest.raises(KeyError, match="request"):
        made.exit_context("request")


def test_contexts_are_read_and_changed_as_a_mapping() -> None:
    located = ThreadLocalContextLocator().get()
    located["request"] = given = {"user_id": 7}
    given["user_id"] = 8
    assert located == {"request": {"user_id": 7}}
    assert (list(located), len(located), "7" in repr(located)) == (["request"], 1, False)
    with pytest.raises(TypeError):
        located["request"]["user_id"] = 9  # type: ignore[index]
    assert ours.get_tracker().resolve_context() == {"user_id": 7}
    del located["request"]
    with pytest.raises(KeyError, match="request"):
        located["request"]


def test_threads_and_asyncio_tasks_have_contexts_of_their_own() -> None:
    made = Tracker({}, ThreadLocalContextLocator())
    seen: list[Any] = []

    async def request(user_id: int) -> None:
        with made.context("request", {"user_id": user_id}):
            await asyncio.sleep(0)
            seen.append((user_id, made.resolve_context()))

    async def serve() -> None:
        await asyncio.gather(*(request(n) for n in range(5)))

    with made.context("outside", {"user_id": "main"}):
        thread = threading.Thread(target=lambda: seen.append(("thread", made.resolve_context())))
        thread.start()
        thread.join()
    asyncio.run(serve())
    assert sorted(seen, key=str) == sorted([("thread", {}), *((n, {"user_id": n}) for n in range(5))], key=str)


def test_a_tracker_without_a_locator_has_one_context_for_all_threads() -> None:
    made, seen = Tracker({}), []
    with made.context("request", {"user_id": 7}):
        thread = threading.Thread(target=lambda: seen.append(made.resolve_context()))
        thread.start()
        thread.join()
    assert seen == [{"user_id": 7}]


@LOCATORS
@pytest.mark.parametrize("data", [{"n": object()}, {"n": float("nan")}, {1, 2}])
def test_emit_raises_nothing(locator: type, data: Any, emitted_events: Captured) -> None:
    Tracker(None, locator()).emit("a.b", data)
    Tracker({"fails": Memory(), "dispatcher": DispatcherBackend()}, locator()).emit("a.b", data)


def test_names_that_dispatcher_does_not_take_are_made_into_some(emitted_events: Captured) -> None:
    made = Tracker(None, ThreadLocalContextLocator())
    made.emit("/" + "x" * 400)
    made.emit(17)  # type: ignore[arg-type]
    assert emitted_events.names == ["/" + "x" * 254, "17"]


def test_a_subclass_may_resolve_the_context_itself(emitted_events: Captured) -> None:
    class Masking(Tracker):
        def resolve_context(self) -> dict[str, Any]:
            return {"user_id": "masked"}

    Masking(None, ThreadLocalContextLocator()).emit("a.b")
    assert emitted_events.one("a.b").context == {"user_id": "masked"}


def test_what_was_registered_can_be_read_from_a_tracker() -> None:
    memory = Memory()
    made = Tracker({"memory": memory}, processors=[print])
    assert (dict(made.backends), made.processors) == ({"memory": memory}, [print])
    assert made.get_backend("memory") is memory
    with pytest.raises(KeyError, match="mongo"):
        made.get_backend("mongo")
