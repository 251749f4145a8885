"""Values that share parts of themselves: a few objects in memory, and more JSON than there is room for.

Each test would take for ever if the value were encoded, so it ends the process after half a minute.
"""

from __future__ import annotations

import faulthandler
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from dispatcher.emit.expansion import encode_bounded, expands_beyond
from dispatcher.errors import EventTooLargeError, InvalidEventError, NotEncodableError
from dispatcher.event import Event, decode
from dispatcher.outbox import MemoryOutbox
from dispatcher.tracker import Tracker

MIB = 1 << 20


class Dict(dict[str, Any]):
    pass


class List(list[Any]):
    pass


@dataclass
class Pair:
    left: object
    right: object


class Struct(msgspec.Struct):
    left: object
    right: object


def doubled(make: Callable[[Any], Any], levels: int = 100) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = make(value)
    return value


EXPANDING: dict[str, Any] = {
    "lists": doubled(lambda x: [x, x]),
    "dicts": doubled(lambda x: {"a": x, "b": x}),
    "tuples": doubled(lambda x: (x, x)),
    "subclasses of dict": doubled(lambda x: Dict(a=x, b=x)),
    "subclasses of list": doubled(lambda x: List([x, x])),
    "dataclasses": doubled(lambda x: Pair(x, x)),
    "structs": doubled(lambda x: Struct(x, x)),
    "one after another": doubled(lambda x: {"a": [x, (x,), Pair(x, 1)]}),
    "four wide levels": [[[[1] * 1000] * 1000] * 1000] * 1000,
    "a flat dict": [[{str(i): i for i in range(1000)}] * 1000] * 1000,
    "a long list": [[1] * 100_000] * 20_000,
    "a long list of a subclass": [List([1] * 100_000)] * 20_000,
    "a long text": [["x" * 100_000] * 1000] * 1000,
}


@pytest.fixture(autouse=True)
def end_the_process() -> Iterator[None]:
    faulthandler.dump_traceback_later(30, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


def strict(processors: Any = ()) -> Tracker:
    tracker = Tracker(outbox=MemoryOutbox(), strict=True, processors=processors)
    tracker.emit("known.name", {})
    return tracker


@pytest.mark.parametrize("value", EXPANDING.values(), ids=EXPANDING)
def test_data_and_context_are_refused_on_every_road(value: object) -> None:
    tracker = strict()
    for send in (
        lambda: tracker.emit("known.name", {"x": value}),
        lambda: tracker.submit("track", "first.name", {"properties": {"x": value}}),
        lambda: tracker.submit("track", "known.name", {}, context={"x": value}),
    ):
        with pytest.raises((EventTooLargeError, NotEncodableError), match=r"known\.name|first\.name"):
            send()
    with tracker.context("request", {"x": value}), pytest.raises(InvalidEventError, match="context"):
        tracker.emit("known.name", {})
    tracker.emit("known.name", {"fine": True})


def test_the_error_says_where_and_what_to_do() -> None:
    with pytest.raises(EventTooLargeError, match=r"the data of the event known\.name would .* pass ids of the things"):
        strict().emit("known.name", {"x": EXPANDING["lists"]})


@pytest.mark.parametrize("value", [EXPANDING["lists"], EXPANDING["structs"]], ids=["lists", "structs"])
def test_it_is_kept_as_a_dead_letter_that_is_small(value: object) -> None:
    outbox = MemoryOutbox()
    Tracker(outbox=outbox).emit("shop.order.paid", {"order": 17, "x": value})

    (letter,) = [decode(payload) for payload in outbox.payloads]
    assert letter.type == "dead"
    assert letter.name == "shop.order.paid"
    assert len(str(letter.data)) < 100_000


def test_what_a_processor_returns_is_looked_at_too() -> None:
    def share(event: Event) -> Event:
        return msgspec.structs.replace(event, data={"x": EXPANDING["lists"]})

    with pytest.raises(InvalidEventError, match="the processor 'share' failed"):
        Tracker(outbox=MemoryOutbox(), strict=True, processors=[share]).emit("known.name", {})


def test_sizes_that_go_up_and_down_under_one_name_change_no_payload() -> None:
    for count in (1, 300, 3_000, 30_000, 2, 300_000, 0, 3_000):
        value = {"x": [[number] for number in range(count)]}
        assert encode_bounded(value, MIB << 4, "shop.order.paid") == msgspec.json.encode(value)


def test_what_contains_itself_is_said_so() -> None:
    cycle: list[Any] = []
    cycle += [cycle] * 3
    with pytest.raises(NotEncodableError, match="contains itself"):
        strict().emit("known.name", {"x": cycle})


PRODUCT = {"id": 7, "name": "a book", "price": 49.9}
SHARED = [PRODUCT] * 300
FINE: dict[str, Any] = {
    "flat": {"a": 1, "b": "x"},
    "products": {"products": [dict(PRODUCT) for _ in range(30)]},
    "shared products": {"a": SHARED, "b": SHARED, "c": {"d": SHARED}},
    "shared seven times": doubled(lambda x: [x, x], 7),
    "numbers": {"vector": [0.5] * 100_000},
    "keys that are numbers": {"x": [{i: [i] for i in range(2000)}] * 20},
    "tuples in sets": [{(1, 2), (3, 4)}] * 5000,
    "empty": [[], {}, (), Dict(), List()] * 5000,
    "objects": [Pair(1, [2]), Struct([1], 2)] * 3000,
    "texts": {"texts": ["ä" * 40] * 10_000},
}


@pytest.mark.parametrize("value", FINE.values(), ids=FINE)
def test_nothing_is_taken_for_larger_than_its_json(value: object) -> None:
    size = len(msgspec.json.encode(value))
    assert not expands_beyond(value, size)
    if size < MIB:
        strict().emit("known.name", {"x": value})
