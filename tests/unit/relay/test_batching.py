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
from dispatcher.relay.batching import Batcher, BatchLimits, JournalRange
from dispatcher.routing import Router
from dispatcher.store.counts import NOT_TAKEN
from dispatcher.store.doorbell import Ring
from dispatcher.store.packing import unpack
from dispatcher.store.put import Put

ALLOWLIST = ["shop.order.*", "!shop.order.lost", 'quo"ted', "back\\slash\\"]
NOW = datetime(2026, 11, 23, 13, 50, 44, tzinfo=UTC)
LIMITS = BatchLimits(events=10, bytes=10_000)

new_id = IdSource().new


def payload(name: str = "shop.order.paid", type: Any = "event", data: Any = None, **fields: Any) -> bytes:
    return encode(
        Event(**{"id": new_id(), "name": name, "type": type, "timestamp": NOW, "data": data, "context": {}, **fields})
    )


def a_batcher(limits: BatchLimits = LIMITS) -> Batcher:
    site = config.load({}, {"destinations": {"segment": {"events": ALLOWLIST}}})
    return Batcher(Router(site), dict.fromkeys(["tracking_log", "segment"], limits))


def split(*payloads: bytes, batcher: Batcher | None = None, start: int = 0, positions: Any = None) -> JournalRange:
    """A range in which each event is ten positions long."""
    put = positions or {}
    starts = {name: max(start, position) for name, position in put.items()}
    journal_range = (batcher or a_batcher()).open_range("journal", start, put=put, starts=starts)
    journal_range.add(payloads, [start + 10 * (number + 1) for number in range(len(payloads))])
    journal_range.close()
    return journal_range


def puts(journal_range: JournalRange, destination: str) -> list[Put]:
    return [put for put in journal_range.puts if put.destination == destination]


def delivered(journal_range: JournalRange, destination: str) -> list[bytes]:
    return [one for put in puts(journal_range, destination) if put.packed for one in unpack(put.packed)]


def filtered(journal_range: JournalRange, destination: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for put in puts(journal_range, destination):
        for reason, count in put.filtered.items():
            found[reason] = found.get(reason, 0) + count
    return found


def test_an_event_goes_to_each_destination_that_lists_it() -> None:
    paid, lost = payload("shop.order.paid"), payload("shop.order.lost")
    other, call = payload("edx.video.played"), payload("Order Paid", "track")
    journal_range = split(paid, lost, other, call)
    assert delivered(journal_range, "tracking_log") == [paid, lost, other]
    assert delivered(journal_range, "segment") == [paid, call]
    assert filtered(journal_range, "segment") == {"excluded": 1, "not_on_allowlist": 1}
    assert filtered(journal_range, "tracking_log") == {"direct": 1}


def test_an_empty_range_makes_no_batch() -> None:
    journal_range = split()
    assert (journal_range.puts, journal_range.end) == ([], 0)


def test_a_batch_ends_at_its_maximum_of_events() -> None:
    journal_range = split(*(payload() for _ in range(7)), batcher=a_batcher(BatchLimits(events=3, bytes=10_000)))
    assert [(put.count, put.start, put.end) for put in puts(journal_range, "segment")] == [
        (3, 0, 30),
        (3, 30, 60),
        (1, 60, 70),
    ]


def test_a_batch_ends_before_it_has_too_many_bytes() -> None:
    events = [payload(data={"x": "x" * 400}) for _ in range(5)]
    journal_range = split(*events, batcher=a_batcher(BatchLimits(events=100, bytes=2 * len(events[0]))))
    assert [(put.count, put.start, put.end) for put in puts(journal_range, "segment")] == [
        (2, 0, 20),
        (2, 20, 40),
        (1, 40, 50),
    ]


def test_an_event_larger_than_a_batch_may_be_is_a_batch_of_its_own() -> None:
    small, large = payload(), payload(data={"x": "x" * 5_000})
    journal_range = split(small, large, small, batcher=a_batcher(BatchLimits(events=100, bytes=1_000)))
    assert [put.count for put in puts(journal_range, "tracking_log")] == [1, 1, 1]
    assert delivered(journal_range, "tracking_log") == [small, large, small]


def test_events_that_a_destination_already_has_are_not_put_again() -> None:
    events = [payload(data={"n": n}) for n in range(5)]
    journal_range = split(*events, start=100, positions={"segment": 120, NOT_TAKEN: 150, "tracking_log": 50})
    assert delivered(journal_range, "segment") == events[2:]
    assert delivered(journal_range, "tracking_log") == events
    assert [put.start for put in journal_range.puts] == [100, 120]


def rings_of(journal_range: JournalRange) -> list[Ring]:
    return [put.ring for put in journal_range.puts if put.count]


def test_a_doorbell_names_the_batch_and_one_of_its_events() -> None:
    journal_range = split(payload("edx.video.played"), payload("shop.order.paid"))
    rings = {ring.destination: ring for ring in rings_of(journal_range)}
    assert (rings["tracking_log"].count, rings["tracking_log"].example) == (2, "edx.video.played")
    assert (rings["segment"].count, rings["segment"].example) == (1, "shop.order.paid")
    assert {ring.batch_id for ring in rings.values()} == {put.batch_id for put in journal_range.puts}


def test_a_range_with_only_filtered_events_is_put_without_a_doorbell() -> None:
    journal_range = split(payload("edx.video.played"))
    (put,) = puts(journal_range, "segment")
    assert (put.count, put.packed, put.filtered) == (0, b"", {"not_on_allowlist": 1})
    assert [ring.destination for ring in rings_of(journal_range)] == ["tracking_log"]


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
def test_names_that_look_alike_in_the_payload_are_distinguished(first: str, second: str) -> None:
    batcher = a_batcher()
    expected = Router(config.load({}, {"destinations": {"segment": {"events": ALLOWLIST}}}))
    for _ in range(2):
        for name in (first, second):
            journal_range = split(payload(name), batcher=batcher)
            takers = {put.destination for put in journal_range.puts if put.count}
            assert takers == set(expected.route(name, "event").destinations)
            assert [ring.example for ring in rings_of(journal_range)] == [name] * len(takers)


def test_an_id_that_looks_like_the_next_field_is_read_correctly() -> None:
    journal_range = split(payload("edx.video.played", id='1","type":"track","name":"shop.order.paid'))
    assert [put.destination for put in journal_range.puts if put.count] == ["tracking_log"]


@pytest.mark.parametrize("length", [1, 10, 20, 30, 35, 37, 60])
def test_names_after_ids_of_another_length_are_distinguished_too(length: int) -> None:
    # From the place on where a name usually begins, both payloads have the same letters.
    batcher = a_batcher()
    journal_range = split(
        payload("shop.order.paid", id="1" * length), payload("edx.order.paid", id="1" * (length + 1)), batcher=batcher
    )
    assert sum(put.count for put in puts(journal_range, "segment")) == 1
    assert filtered(journal_range, "segment") == {"not_on_allowlist": 1}


def test_more_names_than_the_cache_holds_are_batched_correctly() -> None:
    batcher = a_batcher(BatchLimits(events=100_000, bytes=1 << 30))
    events = [payload(f"edx.n{number}") for number in range(10_050)]
    assert delivered(split(*events, batcher=batcher), "tracking_log") == events


def test_a_dead_letter_is_put_with_its_reason_and_goes_nowhere() -> None:
    letter = payload(type="dead", data={"reason": "too_large", "error": "the event is 2 MB", "data": "{…}"})
    journal_range = split(payload(), letter, payload())
    (put,) = puts(journal_range, NOT_TAKEN)
    assert [(dead.reason, dead.error, dead.payload) for dead in put.dead] == [
        ("too_large", "the event is 2 MB", letter)
    ]
    assert (put.start, put.end, put.count) == (0, 30, 0)
    assert len(delivered(journal_range, "tracking_log")) == 2


def test_a_dropped_event_is_counted_with_its_reason() -> None:
    dropped = [payload(type="dropped", data={"reason": reason}) for reason in ("bot", "bot", "consent")]
    journal_range = split(*dropped)
    assert filtered(journal_range, NOT_TAKEN) == {"bot": 2, "consent": 1}
    assert journal_range.end == 30
    assert rings_of(journal_range) == []


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
    journal_range = split(letter, good, bad, good)
    (put,) = puts(journal_range, NOT_TAKEN)
    assert [dead.reason for dead in put.dead] == ["too_large", "undecodable"]
    assert put.dead[1].payload == bad
    assert delivered(journal_range, "tracking_log") == [good, good]
    assert journal_range.end == 40


@pytest.mark.parametrize("data", [None, {}, [], {"why": "x"}], ids=str)
def test_a_dead_letter_or_drop_without_a_reason_has_an_unknown_one(data: Any) -> None:
    journal_range = split(payload(type="dead", data=data), payload(type="dropped", data=data))
    (put,) = puts(journal_range, NOT_TAKEN)
    assert [(dead.reason, dead.error) for dead in put.dead] == [("unknown", "")]
    assert put.filtered == {"unknown": 1}


def test_a_dead_letter_with_a_too_deep_context_is_put_too() -> None:
    letter = payload(type="dead", data={"reason": "too_large", "error": "", "data": ""})
    deep = letter.replace(b'"context":{}', b'"context":{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}")
    journal_range = split(letter, deep, payload())
    (put,) = puts(journal_range, NOT_TAKEN)
    assert [dead.reason for dead in put.dead] == ["too_large", "undecodable"]
    assert len(delivered(journal_range, "segment")) == 1


TYPES = st.sampled_from(
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
    drawn=st.lists(st.tuples(TYPES, st.integers(0, 300)), max_size=40),
    limits=st.builds(BatchLimits, events=st.integers(1, 6), bytes=st.integers(1, 900)),
    start=st.integers(0, 50),
    positions=st.dictionaries(st.sampled_from(["tracking_log", "segment", NOT_TAKEN]), st.integers(0, 400)),
    parts=st.integers(1, 7),
)
def test_every_event_is_counted_once_for_every_destination(
    drawn: list[tuple[tuple[str, str, Any], int]],
    limits: BatchLimits,
    start: int,
    positions: dict[str, int],
    parts: int,
) -> None:
    batcher = a_batcher(limits)
    router = Router(config.load({}, {"destinations": {"segment": {"events": ALLOWLIST}}}))
    events = [
        payload(name, type, data if data is not None else {"x": "x" * size}) for (type, name, data), size in drawn
    ]
    ends = [start + 10 * (number + 1) for number in range(len(events))]
    starts = {name: max(start, position) for name, position in positions.items()}
    journal_range = batcher.open_range("journal", start, put=positions, starts=starts)
    for at in range(0, len(events), parts):
        journal_range.add(events[at : at + parts], ends[at : at + parts])
    journal_range.close()

    assert journal_range.end == (ends[-1] if ends else start)
    for destination in ("tracking_log", "segment", NOT_TAKEN):
        begin = max(start, positions.get(destination, -1))
        new = [(event, *typed) for event, (typed, _), end in zip(events, drawn, ends, strict=True) if end > begin]
        own = puts(journal_range, destination)
        # One range after the other, with nothing in between.
        assert [put.start for put in own] == [begin, *(put.end for put in own)][: len(own)]
        if own:
            assert own[-1].end <= journal_range.end
        if destination == NOT_TAKEN:
            assert sum(len(put.dead) for put in own) == sum(type == "dead" for _, type, *_ in new)
            assert filtered(journal_range, destination).get("bot", 0) == sum(type == "dropped" for _, type, *_ in new)
            continue
        routed = [(one, router.route(name, type)) for one, type, name, _ in new if type not in ("dead", "dropped")]
        assert delivered(journal_range, destination) == [
            one for one, routes in routed if destination in routes.destinations
        ]
        assert sum(filtered(journal_range, destination).values()) == sum(
            destination in routes.skipped for _, routes in routed
        )
        for put in own:
            sizes = [len(one) for one in unpack(put.packed)] if put.packed else []
            assert put.count == len(sizes) <= limits.events
            assert len(sizes) <= 1 or sum(sizes) <= limits.bytes


# Splitting again what a store has lost


def again(events: list[bytes], recorded: dict[str, list[tuple[int, int]]], **more: Any) -> JournalRange:
    """The same range, whose events are ten positions long, with the batches that are recorded."""
    journal_range = a_batcher().open_range("journal", more.pop("start", 0), recorded=recorded, **more)
    journal_range.add(events, [10 * (number + 1) for number in range(len(events))])
    journal_range.close()
    return journal_range


def ranges(journal_range: JournalRange, destination: str = "tracking_log") -> list[tuple[int, int, int]]:
    return [(put.start, put.end, put.count) for put in puts(journal_range, destination)]


def test_a_range_is_put_again_in_the_same_batches_whatever_the_limits() -> None:
    events = [payload() for _ in range(30)]
    found = again(events, {"tracking_log": [(0, 70), (70, 90), (90, 300)], "segment": [(0, 300)]})
    assert ranges(found) == [(0, 70, 7), (70, 90, 2), (90, 300, 21)]
    assert ranges(found, "segment") == [(0, 300, 30)]
    assert [put.after for put in puts(found, "tracking_log")] == [-1, 70, 90]


def test_batches_that_the_store_still_has_are_not_put_again() -> None:
    events = [payload() for _ in range(30)]
    recorded = {"tracking_log": [(0, 70), (70, 90), (90, 300)]}
    found = again(events, recorded, put={"tracking_log": 90}, starts={"tracking_log": 90})
    assert ranges(found) == [(90, 300, 21)]
    assert puts(found, "tracking_log")[0].after == 90


def test_gaps_left_by_another_relay_are_put_again_too() -> None:
    events = [payload() for _ in range(30)]
    found = again(events, {"tracking_log": [(70, 90), (120, 300)]})
    assert ranges(found) == [(0, 70, 7), (70, 90, 2), (90, 120, 3), (120, 300, 18)]


def test_a_gap_without_events_for_a_destination_makes_no_batch() -> None:
    lost, paid = payload("shop.order.lost", "event"), payload()
    call = payload("Order Paid", "track")
    # The log takes no direct calls, so its batches end before them and begin behind them.
    found = again([paid, call, call, paid, lost], {"segment": [(0, 50)], "tracking_log": [(0, 10), (30, 50)]})
    assert [(put.start, put.end) for put in puts(found, "tracking_log") if put.count] == [(0, 10), (30, 50)]
    assert delivered(found, "tracking_log") == [paid, paid, lost]
