"""Optimizely passes the contract suite, and keeps Optimizely's own rules."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from dispatcher.event import Event
from dispatcher.outcomes import DELIVERED
from dispatcher.tasks.destinations.optimizely import Optimizely
from dispatcher.tasks.testing import DestinationContract, Vendor
from dispatcher.tasks.testing.contract.subject import batch_of, fates, with_data
from tests.support.vendors.optimizely import ACCOUNT_ID, OptimizelyVendor


class TestOptimizely(DestinationContract):
    type = "optimizely"
    credentials = ("account_id",)

    def options(self, url: str) -> dict[str, Any]:
        return {
            "host": url,
            "account_id": ACCOUNT_ID,
            "event_ids": {"shop.order.paid": "4841578001"},
            "attribute_ids": {"org_id": "300"},
            "bot_filtering": True,
        }

    def vendor(self) -> Vendor:
        return OptimizelyVendor()

    @pytest.fixture
    def optimizely(self, destination: Any) -> Optimizely:
        assert isinstance(destination, Optimizely)
        return destination

    def test_one_request_carries_every_event_with_its_id(self, optimizely: Optimizely, server: Vendor) -> None:
        events = self.events(100)
        assert list(optimizely.deliver(batch_of(events))) == [DELIVERED] * 100
        assert server.taken == {event.id: 1 for event in events}
        assert len(server.calls) == 1

    def test_the_same_events_have_the_same_ids_again(self, optimizely: Optimizely, server: Vendor) -> None:
        events = self.events(3)
        for attempt in range(2):
            optimizely.deliver(batch_of(events, attempt=attempt))
        assert server.taken == {event.id: 2 for event in events}

    def test_a_visitor_with_many_events_is_sent_once(self, optimizely: Optimizely, server: Vendor) -> None:
        events = [msgspec.structs.replace(event, context={"user_id": 7}) for event in self.events(10)]
        assert set(fates(optimizely.deliver(batch_of(events)))) == {"delivered"}
        (visitor,) = json.loads(server.calls[0].body)["visitors"]
        assert len(visitor["snapshots"][0]["events"]) == 10

    def test_a_refused_event_is_found_among_one_visitors_events(self, optimizely: Optimizely, server: Vendor) -> None:
        events = [msgspec.structs.replace(event, context={"user_id": 7}) for event in self.events(10)]
        events[3] = self.poisoned(events[3])
        assert fates(optimizely.deliver(batch_of(events))) == ["delivered"] * 3 + ["invalid"] + ["delivered"] * 6
        assert server.taken == {event.id: 1 for number, event in enumerate(events) if number != 3}

    def test_without_strict_mode_optimizely_answers_204_to_ignored_events(self, server: Vendor) -> None:
        with self.open_destination(server.url, strict=False) as destination:
            assert fates(destination.deliver(batch_of([self.poisoned(self.event(1))]))) == ["delivered"]
        assert not server.taken

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"name": "no.such.event"}, "unknown_event"),
            ({"context": {}, "data": {}}, "missing_visitor_id"),
            ({"data": {"revenue": 12.5}}, "invalid"),
        ],
        ids=["name", "visitor", "revenue"],
    )
    def test_events_that_optimizely_would_ignore_are_not_sent(
        self, change: dict[str, Any], reason: str, optimizely: Optimizely, server: Vendor
    ) -> None:
        good = self.event(1)
        bad: Event = msgspec.structs.replace(self.event(2), **change)
        assert fates(optimizely.deliver(batch_of([bad, good]))) == [reason, "delivered"]
        assert server.taken == {good.id: 1}

    @pytest.mark.parametrize(
        "value",
        [None, True, 0, 1.5, 10**30, "", "text", [], {}, [{"a": [1]}], {"b": None}],
        ids=repr,
    )
    def test_any_data_makes_a_request_that_follows_the_rules(
        self, value: object, optimizely: Optimizely, server: Vendor
    ) -> None:
        event = with_data(self.event(1), value=value, org_id=value, field=value)
        assert fates(optimizely.deliver(batch_of([event]))) == ["delivered"]
        assert server.taken == {event.id: 1}
