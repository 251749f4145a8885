"""The bound context: what is merged, who sees it, and when it ends."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

import pytest

from dispatcher import tracker
from dispatcher.emit.context import EMPTY, BoundContext, current
from dispatcher.testing import Captured, capture


@pytest.fixture
def captured() -> Iterator[Captured]:
    with capture() as captured:
        yield captured


def merged() -> dict[str, Any]:
    return tracker.Tracker.resolve_context()


def encoded() -> Any:
    assert current().json is not None
    return json.loads(bytes(current().json))  # type: ignore[arg-type]


def test_no_context_is_bound_at_first() -> None:
    assert merged() == {}
    assert current() is EMPTY


def test_later_contexts_win_key_by_key() -> None:
    with (
        tracker.context("request", {"ip": "192.0.2.1", "user_id": None}),
        tracker.context("user", {"user_id": 7, "username": "ada"}),
    ):
        assert merged() == {"ip": "192.0.2.1", "user_id": 7, "username": "ada"}
        assert encoded() == merged()
    assert merged() == {}


def test_rebinding_a_name_replaces_its_context_in_place() -> None:
    tracker.enter_context("a", {"x": 1, "only_first": True})
    tracker.enter_context("b", {"x": 2})
    tracker.enter_context("a", {"x": 3, "y": 3})
    assert merged() == {"x": 2, "y": 3}


def test_contexts_may_be_left_in_any_order() -> None:
    tracker.enter_context("a", {"x": 1})
    tracker.enter_context("b", {"x": 2})
    tracker.exit_context("a")
    assert merged() == {"x": 2}
    tracker.exit_context("b")
    assert current() is EMPTY


def test_leaving_a_context_that_was_not_entered_names_it() -> None:
    with pytest.raises(KeyError, match="request"):
        tracker.exit_context("request")


def test_a_with_block_restores_the_previous_context_of_its_name() -> None:
    with tracker.context("course", {"course_id": "outer"}):
        with tracker.context("course", {"course_id": "inner"}):
            assert merged() == {"course_id": "inner"}
        assert merged() == {"course_id": "outer"}


def test_a_with_block_ends_its_context_when_it_raises() -> None:
    with pytest.raises(RuntimeError, match="the view"), tracker.context("request", {"a": 1}):
        raise RuntimeError("the view")
    assert merged() == {}


def test_a_with_block_allows_its_context_to_be_left_inside() -> None:
    with tracker.context("request", {"a": 1}):
        tracker.exit_context("request")
    assert merged() == {}


def test_changing_a_bound_dict_later_changes_no_event(captured: Captured) -> None:
    request = {"user_id": 7, "roles": ["staff"]}
    with tracker.context("request", request):
        request["user_id"] = 8
        request["roles"].append("root")  # type: ignore[union-attr, attr-defined]
        tracker.emit("shop.order.paid")
    assert captured.one("shop.order.paid").context == {"user_id": 7, "roles": ["staff"]}


def test_an_event_gets_the_context_at_the_time_of_emit(captured: Captured) -> None:
    with tracker.context("request", {"n": 1}):
        tracker.emit("a")
        with tracker.context("course", {"n": 2}):
            tracker.emit("b")
        tracker.emit("c")
    tracker.emit("d")
    assert [event.context for event in captured.events] == [{"n": 1}, {"n": 2}, {"n": 1}, {}]


def test_resolve_context_returns_a_copy() -> None:
    with tracker.context("request", {"a": 1}):
        merged()["a"] = 2
        assert merged() == {"a": 1}


def test_any_mapping_can_be_a_context() -> None:
    with tracker.context("request", MappingProxyType({"a": 1})):
        assert encoded() == {"a": 1}


@pytest.mark.parametrize("ctx", [None, 7, "user", [("a", 1)], object()], ids=["None", "7", "user", "list", "object"])
def test_anything_but_a_mapping_is_refused_on_entry(ctx: Any) -> None:
    with pytest.raises(TypeError, match=r"the context 'request' must be a dict, not .*: call tracker.context\("):
        tracker.enter_context("request", ctx)
    assert current() is EMPTY


def test_none_is_not_mistaken_for_nan() -> None:
    with tracker.context("request", {"user_id": None, "text": "null"}):
        assert encoded() == {"user_id": None, "text": "null"}


@pytest.mark.parametrize(
    "ctx",
    [{"a": float("nan")}, {"a": [{"b": float("inf")}]}, {"a": {float("nan")}}, {"a": object()}, {("a",): 1}],
    ids=["nan", "deep inf", "nan in a set", "object", "tuple as a key"],
)
def test_a_context_that_cannot_be_encoded_is_bound_without_its_json(ctx: dict[Any, Any]) -> None:
    with tracker.context("request", ctx):
        assert current().json is None
        assert current().size == 0
        assert merged() == ctx


def test_the_size_is_the_length_of_the_json() -> None:
    bound = BoundContext((("request", {"a": "ä"}),))
    assert bound.size == len('{"a":"ä"}'.encode())


def test_threads_do_not_see_each_others_context() -> None:
    entered = threading.Barrier(3, timeout=60)
    seen: dict[int, dict[str, Any]] = {}

    def run(number: int) -> None:
        with tracker.context("request", {"number": number}):
            entered.wait()
            seen[number] = merged()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(3)]
    with tracker.context("request", {"number": "main"}):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert merged() == {"number": "main"}
    assert seen == {number: {"number": number} for number in range(3)}


def test_tasks_inherit_their_creators_context_and_change_only_their_own() -> None:
    async def child(number: int, meeting: asyncio.Barrier) -> dict[str, Any]:
        with tracker.context("task", {"number": number}):
            await meeting.wait()
            return merged()

    async def run() -> list[dict[str, Any]]:
        meeting = asyncio.Barrier(3)
        with tracker.context("request", {"ip": "192.0.2.1"}):
            found = await asyncio.gather(*(child(number, meeting) for number in range(3)))
            assert merged() == {"ip": "192.0.2.1"}
        return list(found)

    assert asyncio.run(run()) == [{"ip": "192.0.2.1", "number": number} for number in range(3)]


def test_a_generators_context_holds_while_it_is_open() -> None:
    def stream() -> Iterator[int]:
        with tracker.context("stream", {"part": 1}):
            yield 1

    generator = stream()
    next(generator)
    assert merged() == {"part": 1}
    generator.close()
    assert merged() == {}


def test_the_trackers_own_methods_bind_the_same_context() -> None:
    one = tracker.get_tracker()
    with one.context("request", {"a": 1}):
        one.enter_context("more", {"b": 2})
        assert one.resolve_context() == merged() == {"a": 1, "b": 2}
        one.exit_context("more")
