"""What a tracker may expect of any outbox: the durable one and the in-memory one pass the same tests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dispatcher.errors import InvalidEventError
from dispatcher.event import Event, decode
from dispatcher.outbox import MemoryOutbox, Outbox
from dispatcher.tracker import Tracker
from tests.support.outboxes import make_outbox, read_directory

Box = Outbox | MemoryOutbox
NAN = float("nan")


@pytest.fixture(params=["durable", "memory"])
def box(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Box]:
    box = make_outbox(tmp_path / "outbox") if request.param == "durable" else MemoryOutbox()
    yield box
    box.close()


def taken(box: Box) -> list[bytes]:
    return list(box.payloads) if isinstance(box, MemoryOutbox) else read_directory(box.directory)


def events(box: Box) -> list[Event]:
    return [decode(payload) for payload in taken(box)]


def test_a_new_outbox_is_empty_and_fully_relayed(box: Box) -> None:
    assert box.position == 0
    assert box.has_relayed(0)
    assert taken(box) == []


def test_payloads_are_kept_unchanged_and_in_order(box: Box) -> None:
    payloads = [b"{}", b"x" * 10_000 + b"}", b"}", b'{"a":"\xc3\xa4\\u0000"}', b"{}"]
    for payload in payloads:
        box.append(payload)
    assert taken(box) == payloads


def test_the_position_grows_with_every_payload(box: Box) -> None:
    positions = [box.position]
    for _ in range(5_000):
        box.append(b'{"n":1}')
        positions.append(box.position)
    assert positions == sorted(set(positions))


def test_append_returns_nothing(box: Box) -> None:
    append: Callable[[bytes], Any] = box.append
    assert append(b"{}") is None


def test_threads_may_append_concurrently(box: Box) -> None:
    start = threading.Barrier(4)

    def run(thread: int) -> None:
        start.wait()
        for number in range(1_000):
            box.append(b"%d %d}" % (thread, number))

    threads = [threading.Thread(target=run, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = taken(box)
    for thread in range(4):
        assert [payload for payload in found if payload.startswith(b"%d " % thread)] == [
            b"%d %d}" % (thread, number) for number in range(1_000)
        ]
    assert len(found) == 4_000


def test_an_outbox_may_be_closed_twice(box: Box) -> None:
    box.append(b"{}")
    box.close()
    box.close()


def test_a_tracker_emits_into_the_outbox(box: Box) -> None:
    tracker = Tracker(outbox=box, strict=True)
    with tracker.context("request", {"user_id": 7}):
        ids = [tracker.emit("shop.order.paid", {"order": number}) for number in range(3)]
    assert [(event.id, event.data, event.context) for event in events(box)] == [
        (event_id, {"order": number}, {"user_id": 7}) for number, event_id in enumerate(ids)
    ]


def test_an_event_that_a_tracker_cannot_take_becomes_a_dead_letter(box: Box) -> None:
    tracker = Tracker(outbox=box)
    ids = [tracker.emit("shop.order.paid", {"price": price}) for price in (1.5, NAN, 2.5)]
    assert [(event.id, event.type) for event in events(box)] == list(zip(ids, ("event", "dead", "event"), strict=True))


def test_an_event_that_a_strict_tracker_refuses_leaves_no_trace(box: Box) -> None:
    tracker = Tracker(outbox=box, strict=True)
    with pytest.raises(InvalidEventError):
        tracker.emit("shop.order.paid", {"price": NAN})
    assert taken(box) == []


def test_the_payload_holds_what_was_emitted(box: Box) -> None:
    Tracker(outbox=box).submit("track", "Order Paid", {"userId": "7"}, context={"ip": "192.0.2.1"}, event_id="my-id")
    (payload,) = taken(box)
    wire = msgspec.json.decode(payload)
    assert list(wire) == ["id", "type", "name", "timestamp", "data", "context"]
    assert {**wire, "timestamp": ""} == {
        "id": "my-id",
        "type": "track",
        "name": "Order Paid",
        "timestamp": "",
        "data": {"userId": "7"},
        "context": {"ip": "192.0.2.1"},
    }
