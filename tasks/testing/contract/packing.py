"""Events are sent within the vendor's limits and have one outcome each; a bad one does no harm to good ones."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from math import ceil, log2
from typing import Any, Final, cast

import msgspec
import pytest

from dispatcher.destinations.base import Destination
from dispatcher.errors import DropEvent
from dispatcher.event import Event, EventType, decode, encode
from dispatcher.outcomes import CONSENT, Dead, Delivered, Filtered, Outcome
from dispatcher.rules.rules import Rules
from dispatcher.tasks.destinations.http import HttpDestination
from dispatcher.tasks.testing.contract.subject import NAME, Subject, batch_of, errors_of, fates, limits_of, with_data
from dispatcher.tasks.testing.vendor import Vendor

# Enough to see full requests, for vendors that take more than is worth sending here.
_MAX_EVENTS: Final = 2500
# Types and data that emit takes, and a destination may not expect.
_TYPES: Final[tuple[EventType, ...]] = ("event", "track", "identify", "alias")
_DATA: Final[tuple[Any, ...]] = (
    None,
    "order=17&total=12.5",
    [1, None, "a"],
    17,
    {},
    {"": "", "a b": True, "größe": 2**70, "_x": -0.0, "deep": {"er": [{"x": None}]}},
    {"userId": 7, "event": None, "properties": [], "traits": "none", "context": 3, "timestamp": "soon"},
    {"name": ["a"], "value": "many", "currency": 7, "email": {}, "items": {"a": 1}, "revenue": True},
)
_ODD_CONTEXT: Final[dict[str, Any]] = {
    "user_id": [7],
    "username": {},
    "client_id": True,
    "email": 7,
    "ip": "none",
    "page": 17,
    "host": "",
    "path": None,
    "agent": [],
    "timestamp": "soon",
}

# Threads that deliver at once.
_THREADS: Final = 4


class PackingContract(Subject):
    """Tests of how events are put into requests."""

    def test_an_empty_batch_makes_no_request(self, destination: Destination[Any], server: Vendor) -> None:
        assert list(destination.deliver(batch_of([]))) == []
        assert list(server.calls) == []

    def test_each_of_many_events_arrives_once_in_requests_within_the_limits(
        self, destination: Destination[Any], server: Vendor
    ) -> None:
        limits = limits_of(destination)
        events = self.events(min(2 * limits.events + 1, _MAX_EVENTS))

        outcomes = destination.deliver(batch_of(events))

        assert set(fates(outcomes)) == {"delivered"}, errors_of(outcomes)
        assert len(outcomes) == len(events)
        counts = [self.events_in(call, events) for call in server.calls]
        assert sum(counts) == len(events)
        assert max(counts) <= limits.events
        if limits.request_bytes is not None:
            assert max(len(call.content) for call in server.calls) <= limits.request_bytes

    def test_requests_are_split_by_size_in_bytes(self, destination: Destination[Any], server: Vendor) -> None:
        limits = limits_of(destination)
        if limits.request_bytes is None or limits.events == 1:
            pytest.skip("one event a request, or no limit of a request's bytes")
        size = (limits.event_bytes or limits.request_bytes) // 2
        count = min(limits.events, limits.request_bytes // size + 2)
        large = [self.oversized(event, size) for event in self.events(count)]
        events = [event for event in large if event is not None]
        if not events:
            pytest.skip("the mapping leaves nothing large in")

        outcomes = destination.deliver(batch_of(events))

        assert set(fates(outcomes)) == {"delivered"}, errors_of(outcomes)
        assert sum(self.events_in(call, events) for call in server.calls) == len(events)
        assert len(server.calls) > 1
        assert max(len(call.content) for call in server.calls) <= limits.request_bytes

    def test_an_oversized_event_is_dead_and_no_other_is(self, destination: Destination[Any], server: Vendor) -> None:
        limits = limits_of(destination)
        limit = limits.event_bytes or limits.request_bytes
        events = self.events(5)
        large = None if limit is None else self.oversized(events[2], limit)
        if large is None:
            pytest.skip("no event of this destination can be too large")

        outcomes = destination.deliver(batch_of([*events[:2], large, *events[3:]]))

        assert fates(outcomes) == ["delivered", "delivered", "oversized", "delivered", "delivered"], errors_of(outcomes)
        assert events[2].id in errors_of(outcomes), "says which event it is"

    def test_an_event_refused_for_its_contents_is_dead_and_no_other_is(
        self, destination: Destination[Any], server: Vendor
    ) -> None:
        destination.deliver(batch_of(self.events(16)))
        usual = len(server.calls)

        outcomes = destination.deliver(batch_of(self._with_poison(self.events(16), 5)))

        assert _dead_places(outcomes) == [5], errors_of(outcomes)
        assert sum(isinstance(outcome, Delivered) for outcome in outcomes) == 15
        assert len(server.calls) - usual <= usual + 2 * ceil(log2(16)), "found by halves"

    def test_all_refused_events_are_found(self, destination: Destination[Any]) -> None:
        bad = [0, 7, 8, 15]

        outcomes = destination.deliver(batch_of(self._with_poison(self.events(16), *bad)))

        assert _dead_places(outcomes) == bad
        assert all(isinstance(outcome, Dead | Delivered) for outcome in outcomes), errors_of(outcomes)

    def test_batches_that_are_delivered_together_have_outcomes_of_their_own(
        self, destination: Destination[Any], server: Vendor
    ) -> None:
        events = self.events(6)
        batches = [
            batch_of(events[:2]),
            batch_of(self._with_poison(events[2:5], 1)),
            batch_of([b"no event", events[5]]),
        ]

        results = destination.deliver_all(batches)

        assert [len(result) for result in results if not isinstance(result, Exception)] == [2, 3, 2]
        first, second, third = (list(result) for result in results if not isinstance(result, Exception))
        assert fates(first) == ["delivered"] * 2, errors_of(first)
        assert _dead_places(second) == [1], errors_of(second)
        assert isinstance(second[0], Delivered)
        assert isinstance(second[2], Delivered)
        assert fates(third) == ["undecodable", "delivered"], errors_of(third)

    @pytest.mark.parametrize("payload", [b"", b"no event", b"{}", b"[1]", b"\xff\xfe"], ids=repr)
    def test_an_undecodable_payload_is_dead_and_no_other_is(
        self, payload: bytes, destination: Destination[Any]
    ) -> None:
        first, last = self.events(2)

        outcomes = destination.deliver(batch_of([first, payload, last]))

        assert fates(outcomes) == ["delivered", "undecodable", "delivered"], errors_of(outcomes)

    def test_an_event_at_the_limit_of_nesting_takes_no_other_along(self, destination: Destination[Any]) -> None:
        first, deep, last = self.events(3)
        most = _most_levels(deep)

        for levels in range(most - 50, most + 10, 3):
            outcomes = destination.deliver(batch_of([first, _nested(deep, levels), last]))

            assert fates([outcomes[0], outcomes[2]]) == ["delivered"] * 2, f"{levels} levels: {errors_of(outcomes)}"
            assert isinstance(outcomes[1], Delivered | Dead), f"{levels} levels: {errors_of(outcomes)}"
            # Not dumped: how deep `json` goes differs from one Python to the next, and with the stack below.
            assert destination.preview(msgspec.structs.replace(deep, data=_lists(levels)))

    def test_an_event_of_any_shape_has_an_outcome(self, destination: Destination[Any]) -> None:
        usual = self.event(1)
        events = [
            msgspec.structs.replace(usual, id=f"{usual.id[:-4]}{number:04x}", type=type_, data=data, context=context)
            for number, (type_, data, context) in enumerate(product(_TYPES, _DATA, (usual.context, {}, _ODD_CONTEXT)))
        ]

        outcomes = destination.deliver(batch_of(events))

        assert len(outcomes) == len(events)
        assert "transform" not in fates(outcomes), errors_of(outcomes)
        assert all(isinstance(outcome, Delivered | Dead | Filtered) for outcome in outcomes), errors_of(outcomes)
        for event in events:
            json.dumps(destination.preview(event))

    def test_an_event_that_a_rule_skips_is_filtered_with_the_rules_reason(self, server: Vendor) -> None:
        kept, left_out = self.events(2)

        class LeaveOut:
            def apply(self, event: Event) -> Event:
                if event.id == left_out.id:
                    raise DropEvent(CONSENT)
                return event

        destination = self.destination_class()(NAME, self.make_options(server.url), rules=cast("Rules", LeaveOut()))
        try:
            outcomes = destination.deliver(batch_of([left_out, kept]))
        finally:
            destination.close()

        assert fates(outcomes) == ["consent", "delivered"]
        assert sum(self.events_in(call, [left_out]) for call in server.calls) == 0

    def test_several_threads_may_deliver_concurrently(self, destination: Destination[Any], server: Vendor) -> None:
        batches = [self.events(6) for _ in range(_THREADS)]
        together = threading.Barrier(_THREADS)

        def deliver(events: Sequence[Event]) -> Sequence[Outcome]:
            together.wait(30)
            return destination.deliver(batch_of(events))

        with ThreadPoolExecutor(_THREADS) as pool:
            delivered = list(pool.map(deliver, batches))

        assert [fates(outcomes) for outcomes in delivered] == [["delivered"] * 6] * _THREADS
        for events in batches:
            assert [sum(self.events_in(call, [event]) for call in server.calls) for event in events] == [1] * 6

    def test_mapping_leaves_the_event_unchanged(self, destination: Destination[Any]) -> None:
        if not isinstance(destination, HttpDestination):
            pytest.skip("it maps in a way of its own")
        event = self.event(1)
        before = msgspec.json.encode(event)

        first = destination.request([destination.item(event)])
        again = destination.request([destination.item(event)])

        assert msgspec.json.encode(event) == before
        assert first == again, "the same event makes the same request"

    def _with_poison(self, events: Sequence[Event], *places: int) -> list[Event]:
        changed = list(events)
        for place in places:
            poisoned = self.poisoned(events[place])
            if poisoned is None:
                pytest.skip("it refuses no event for its contents")
            changed[place] = poisoned
        return changed


def _nested(event: Event, levels: int) -> bytes:
    """The payload of an event whose data has a list in a list, so many levels deep."""
    marked = encode(with_data(event, nested="@"))
    return marked.replace(b'"nested":"@"', b'"nested":' + b"[" * levels + b"]" * levels)


def _lists(levels: int) -> dict[str, Any]:
    nested: list[Any] = []
    for _ in range(levels - 1):
        nested = [nested]
    return {"nested": nested}


def _most_levels(event: Event) -> int:
    """How many levels can be decoded here, which differs from Python to Python."""
    low, high = 100, 1 << 20
    while high - low > 1:
        levels = (low + high) // 2
        try:
            decode(_nested(event, levels))
        except RecursionError:
            high = levels
        else:
            low = levels
    return low


def _dead_places(outcomes: Sequence[Outcome]) -> list[int]:
    return [place for place, outcome in enumerate(outcomes) if isinstance(outcome, Dead)]
