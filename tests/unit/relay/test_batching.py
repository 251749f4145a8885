"""Batching: each event of a journal range is in the right batches, once, in order and within the limits."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher import config
from dispatcher.emit.ids import IdSource
from dispatcher.event import Event, encode
from dispatcher.relay.batching import BatchLimits, Cutter, Stretch
from dispatcher.routing import Router
from dispatcher.store.batches import NOT_TAKEN, Put, unpack

ALLOWLIST = ["shop.order.*", "!shop.order.lost", 'quo"ted', "back\\slash\\"]
NOW = datetime(2026, 11, 23, 13, 50, 44, tzinfo=UTC)
LIMITS = BatchLimits(events=10, bytes=10_000)

new_id = IdSource().new


def payload(name: str = "shop.order.paid", type: Any = "event", data: Any = None, **fields: Any) -> bytes:
    return encode(
        Event(**{"id": new_id(), "name": name, "type": type, "timestamp": NOW, "data": data, "context": {}, **fields})
    )


def a_cutter(limits: BatchLimits = LIMITS) -> Cutter:
    site = config.load({}, {"destinations": {"segment": {"events": ALLOWLIST}}})
    return Cutter(Router(site), dict.fromkeys(["tracking_log", "segment"], limits))


def cut(*payloads: bytes, cutter: Cutter | None = None, start: int = 0, positions: Any = None) -> Stretch:
    """A stretch in which each event is ten positions long."""
    put = positions or {}
    starts = {name: max(start, position) for name, position in put.items()}
    stretch = (cutter or a_cutter()).begin("journal", start, put=put, starts=starts)
    stretch.add(payloads, [start + 10 * (number + 1) for number in range(len(payloads))])
    stretch.finish()
    return stretch


def puts(stretch: Stretch, destination: str) -> list[Put]:
    return [put for put in stretch.puts if put.destination == destination]


def delivered(stretch: Stretch, destination: str) -> list[bytes]:
    return [one for put in puts(stretch, destination) if put.packed for one in unpack(put.packed)]


def filtered(stretch: Stretch, destination: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for put in puts(stretch, destination):
        for reason, count in put.filtered.items():
            found[reason] = found.get(reason, 0) + count
    return found


def test_an_event_goes_to_each_destination_that_lists_it() -> None:
    paid, lost = payload("shop.order.paid"), payload("shop.order.lost")
    other, call = payload("edx.video.played"), payload("Order Paid", "track")
    stretch = cut(paid, lost, other, call)
    assert delivered(stretch, "tracking_log") == [paid, lost, other]
    assert delivered(stretch, "segment") == [paid, call]
    assert filtered(stretch, "segment") == {"excluded": 1, "not_on_allowlist": 1}
    assert filtered(stretch, "tracking_log") == {"direct": 1}


def test_an_empty_range_makes_no_batch() -> None:
    stretch = cut()
    assert (stretch.puts, stretch.rings, stretch.end) == ([], [], 0)


def test_a_batch_ends_at_its_maximum_of_events() -> None:
    stretch = cut(*(payload() for _ in range(7)), cutter=a_cutter(BatchLimits(events=3, bytes=10_000)))
    assert [(put.count, put.start, put.end) for put in puts(stretch, "segment")] == [
        (3, 0, 30),
        (3, 30, 60),
        (1, 60, 70),
    ]


def test_a_batch_ends_before_it_has_too_many_bytes() -> None:
    events = [payload(data={"x": "x" * 400}) for _ in range(5)]
    stretch = cut(*events, cutter=a_cutter(BatchLimits(events=100, bytes=2 * len(events[0]))))
    assert [(put.count, put.start, put.end) for put in puts(stretch, "segment")] == [
        (2, 0, 20),
        (2, 20, 40),
        (1, 40, 50),
    ]


def test_an_event_larger_than_a_batch_may_be_is_a_batch_of_its_own() -> None:
    small, large = payload(), payload(data={"x": "x" * 5_000})
    stretch = cut(small, large, small, cutter=a_cutter(BatchLimits(events=100, bytes=1_000)))
    assert [put.count for put in puts(stretch, "tracking_log")] == [1, 1, 1]
    assert delivered(stretch, "tracking_log") == [small, large, small]


def test_events_that_a_destination_already_has_are_not_put_again() -> None:
    events = [payload(data={"n": n}) for n in range(5)]
    stretch = cut(*events, start=100, positions={"segment": 120, NOT_TAKEN: 150, "tracking_log": 50})
    assert delivered(stretch, "segment") == events[2:]
    assert delivered(stretch, "tracking_log") == events
    assert [put.start for put in stretch.puts] == [100, 120]


def test_a_doorbell_names_the_batch_and_one_of_its_events() -> None:
    stretch = cut(payload("edx.video.played"), payload("shop.order.paid"))
    rings = {ring.destination: ring for ring in stretch.rings}
    assert (rings["tracking_log"].count, rings["tracking_log"].example) == (2, "edx.video.played")
    assert (rings["segment"].count, rings["segment"].example) == (1, "shop.order.paid")
    assert {ring.batch_id for ring in stretch.rings} == {put.batch_id for put in stretch.puts}


def test_a_range_with_only_filtered_events_is_put_without_a_doorbell() -> None:
    stretch = cut(payload("edx.video.played"))
    (put,) = puts(stretch, "segment")
    assert (put.count, put.packed, put.filtered) == (0, b"", {"not_on_allowlist": 1})
    assert [ring.destination for ring in stretch.rings] == ["tracking_log"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("shop.order.paid", "shop.order.paid.twice"),
        ('quo"ted', 'quo"tes'),
        ("back\\slash\\", 'back\\slash\\"'),
        ('quo"', 'quo"ted'),
        ('x","name":"shop.order.paid', "x"),
        ("größe", "größer"),
    ],
)
def test_names_that_look_alike_on_the_wire_are_distinguished(first: str, second: str) -> None:
    cutter = a_cutter()
    expected = Router(config.load({}, {"destinations": {"segment": {"events": ALLOWLIST}}}))
    for _ in range(2):
        for name in (first, second):
            stretch = cut(payload(name), cutter=cutter)
            takers = {put.destination for put in stretch.puts if put.count}
            assert takers == set(expected.route(name, "event").destinations)
            assert [ring.example for ring in stretch.rings] == [name] * len(takers)


def test_an_id_that_looks_like_the_next_field_is_read_correctly() -> None:
    stretch = cut(payload("edx.video.played", id='1","type":"track","name":"shop.order.paid'))
    assert [put.destination for put in stretch.puts if put.count] == ["tracking_log"]


@pytest.mark.parametrize("length", [1, 10, 20, 30, 35, 37, 60])
def test_names_after_ids_of_another_length_are_distinguished_too(length: int) -> None:
    # At one place on the wire both end in the same letters.
    cutter = a_cutter()
    stretch = cut(
        payload("shop.order.paid", id="1" * length), payload("edx.order.paid", id="1" * (length + 1)), cutter=cutter
    )
    assert sum(put.count for put in puts(stretch, "segment")) == 1
    assert filtered(stretch, "segment") == {"not_on_allowlist": 1}


def test_more_names_than_the_cache_holds_are_batched_correctly() -> None:
    cutter = a_cutter(BatchLimits(events=100_000, bytes=1 << 30))
    events = [payload(f"edx.n{number}") for number in range(10_050)]
    assert delivered(cut(*events, cutter=cutter), "tracking_log") == events


def test_a_dead_letter_is_put_with_its_reason_and_goes_nowhere() -> None:
    letter = payload(type="dead", data={"reason": "too_large", "error": "the event is 2 MB", "data": "{…}"})
    stretch = cut(payload(), letter, payload())
    (put,) = puts(stretch, NOT_TAKEN)
    assert [(dead.reason, dead.error, dead.payload) for dead in put.dead] == [
        ("too_large", "the event is 2 MB", letter)
    ]
    assert (put.start, put.end, put.count) == (0, 30, 0)
    assert len(delivered(stretch, "tracking_log")) == 2


def test_a_dropped_event_is_counted_with_its_reason() -> None:
    dropped = [payload(type="dropped", data={"reason": reason}) for reason in ("bot", "bot", "consent")]
    stretch = cut(*dropped)
    assert filtered(stretch, NOT_TAKEN) == {"bot": 2, "consent": 1}
    assert stretch.end == 30
    assert stretch.rings == []


@pytest.mark.parametrize(
    "bad",
    [
        b"null",
        b"not json",
        b"[" * 20_000,
        payload().replace(b"shop.order.paid", b"\xff\xfe"),
        payload("shop.order.old").replace(b"2026-11-23T13:50:44Z", b"0001-01-01T00:00:00+14:00"),
        payload("shop.order.deep").replace(b"null", b"[" * 20_000 + b"]" * 20_000),
    ],
    ids=["null", "text", "brackets", "no UTF-8", "a time before all times", "too deep"],
)
def test_an_unreadable_payload_is_a_dead_letter_and_blocks_no_other(bad: bytes) -> None:
    good = payload()
    letter = payload(type="dead", data={"reason": "too_large", "error": "", "data": ""})
    stretch = cut(letter, good, bad, good)
    (put,) = puts(stretch, NOT_TAKEN)
    assert [dead.reason for dead in put.dead] == ["too_large", "undecodable"]
    assert put.dead[1].payload == bad
    assert delivered(stretch, "tracking_log") == [good, good]
    assert stretch.end == 40


@pytest.mark.parametrize("data", [None, {}, [], {"why": "x"}], ids=str)
def test_a_dead_letter_or_drop_without_a_reason_has_an_unknown_one(data: Any) -> None:
    stretch = cut(payload(type="dead", data=data), payload(type="dropped", data=data))
    (put,) = puts(stretch, NOT_TAKEN)
    assert [(dead.reason, dead.error) for dead in put.dead] == [("unknown", "")]
    assert put.filtered == {"unknown": 1}


def test_a_dead_letter_with_a_too_deep_context_is_put_too() -> None:
    letter = payload(type="dead", data={"reason": "too_large", "error": "", "data": ""})
    deep = letter.replace(b'"context":{}', b'"context":{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}")
    stretch = cut(letter, deep, payload())
    (put,) = puts(stretch, NOT_TAKEN)
    assert [dead.reason for dead in put.dead] == ["too_large", "undecodable"]
    assert len(delivered(stretch, "segment")) == 1


KINDS = st.sampled_from(
    [
        ("event", "shop.order.paid", None),
        ("event", "shop.order.lost", None),
        ("event", "edx.video.played", None),
        ("event", "edx.bi.seen", None),
        ("track", "Order Paid", None),
        ("dead", "x", {"reason": "invalid", "error": "e", "data": ""}),
        ("dropped", "x", {"reason": "bot"}),
    ]
)


@settings(max_examples=60, deadline=None)
@given(
    kinds=st.lists(st.tuples(KINDS, st.integers(0, 300)), max_size=40),
    limits=st.builds(BatchLimits, events=st.integers(1, 6), bytes=st.integers(1, 900)),
    start=st.integers(0, 50),
    positions=st.dictionaries(st.sampled_from(["tracking_log", "segment", NOT_TAKEN]), st.integers(0, 400)),
    parts=st.integers(1, 7),
)
def test_every_event_is_counted_once_for_every_destination(
    kinds: list[tuple[tuple[str, str, Any], int]],
    limits: BatchLimits,
    start: int,
    positions: dict[str, int],
    parts: int,
) -> None:
    cutter = a_cutter(limits)
    router = Router(config.load({}, {"destinations": {"segment": {"events": ALLOWLIST}}}))
    events = [
        payload(name, type, data if data is not None else {"x": "x" * size}) for (type, name, data), size in kinds
    ]
    ends = [start + 10 * (number + 1) for number in range(len(events))]
    starts = {name: max(start, position) for name, position in positions.items()}
    stretch = cutter.begin("journal", start, put=positions, starts=starts)
    for at in range(0, len(events), parts):
        stretch.add(events[at : at + parts], ends[at : at + parts])
    stretch.finish()

    assert stretch.end == (ends[-1] if ends else start)
    for name in ("tracking_log", "segment", NOT_TAKEN):
        begin = max(start, positions.get(name, -1))
        new = [(event, kind) for event, (kind, _), end in zip(events, kinds, ends, strict=True) if end > begin]
        own = puts(stretch, name)
        # One range after the other, with nothing in between.
        assert [put.start for put in own] == [begin, *(put.end for put in own)][: len(own)]
        if own:
            assert own[-1].end <= stretch.end
        if name == NOT_TAKEN:
            assert sum(len(put.dead) for put in own) == sum(kind[0] == "dead" for _, kind in new)
            assert filtered(stretch, name).get("bot", 0) == sum(kind[0] == "dropped" for _, kind in new)
            continue
        routed = [(e, router.route(kind[1], kind[0])) for e, kind in new if kind[0] not in ("dead", "dropped")]
        assert delivered(stretch, name) == [event for event, routes in routed if name in routes.destinations]
        assert sum(filtered(stretch, name).values()) == sum(name in routes.skipped for _, routes in routed)
        for put in own:
            sizes = [len(one) for one in unpack(put.packed)] if put.packed else []
            assert put.count == len(sizes) <= limits.events
            assert len(sizes) <= 1 or sum(sizes) <= limits.bytes
    assert [(ring.destination, ring.batch_id, ring.count) for ring in stretch.rings] == [
        (put.destination, put.batch_id, put.count) for put in stretch.puts if put.count
    ]


# Cutting again what a store has lost


def again(events: list[bytes], cuts: dict[str, list[tuple[int, int]]], **more: Any) -> Stretch:
    """The same stretch, whose events are ten positions long, with the cuts of the last time."""
    stretch = a_cutter().begin("journal", more.pop("start", 0), cuts=cuts, **more)
    stretch.add(events, [10 * (number + 1) for number in range(len(events))])
    stretch.finish()
    return stretch


def ranges(stretch: Stretch, destination: str = "tracking_log") -> list[tuple[int, int, int]]:
    return [(put.start, put.end, put.count) for put in puts(stretch, destination)]


def test_a_range_is_put_again_in_the_same_batches_whatever_the_limits() -> None:
    events = [payload() for _ in range(30)]
    found = again(events, {"tracking_log": [(0, 70), (70, 90), (90, 300)], "segment": [(0, 300)]})
    assert ranges(found) == [(0, 70, 7), (70, 90, 2), (90, 300, 21)]
    assert ranges(found, "segment") == [(0, 300, 30)]
    assert [put.after for put in puts(found, "tracking_log")] == [-1, 70, 90]


def test_batches_that_the_store_still_has_are_not_put_again() -> None:
    events = [payload() for _ in range(30)]
    cuts = {"tracking_log": [(0, 70), (70, 90), (90, 300)]}
    found = again(events, cuts, put={"tracking_log": 90}, starts={"tracking_log": 90})
    assert ranges(found) == [(90, 300, 21)]
    assert puts(found, "tracking_log")[0].after == 90


def test_gaps_left_by_another_relay_are_put_again_too() -> None:
    events = [payload() for _ in range(30)]
    found = again(events, {"tracking_log": [(70, 90), (120, 300)]})
    assert ranges(found) == [(0, 70, 7), (70, 90, 2), (90, 120, 3), (120, 300, 18)]


def test_a_gap_without_events_for_a_destination_makes_no_batch() -> None:
    lost, paid = payload("shop.order.lost", "event"), payload()
    call = payload("Order Paid", "track")
    # The log takes no direct calls, so it was cut around them.
    found = again([paid, call, call, paid, lost], {"segment": [(0, 50)], "tracking_log": [(0, 10), (30, 50)]})
    assert [(put.start, put.end) for put in puts(found, "tracking_log") if put.count] == [(0, 10), (30, 50)]
    assert delivered(found, "tracking_log") == [paid, paid, lost]
