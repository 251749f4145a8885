"""Crazy Egg's goals pass the contract suite and the rules of its documented tracking API."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from dispatcher.event import Event
from dispatcher.tasks.destinations.crazy_egg_goals import CrazyEggGoals
from dispatcher.tasks.testing import DestinationContract, Vendor, batch_of, fates
from tests.support.vendors.crazy_egg import API_KEY, CrazyEggVendor


class TestCrazyEggGoals(DestinationContract):
    type = "crazy_egg_goals"

    def options(self, url: str) -> dict[str, Any]:
        return {"host": url, "api_key": API_KEY}

    def vendor(self) -> Vendor:
        return CrazyEggVendor()

    def event(self, number: int) -> Event:
        # It gets no id of an event, so each is of somebody else here.
        event = super().event(number)
        return msgspec.structs.replace(event, context={**event.context, "user_id": event.id})

    def poisoned(self, event: Event) -> Event:
        # Of the data it gets no more than value and currency.
        return msgspec.structs.replace(event, name="shop.poison")

    @pytest.fixture
    def crazy_egg(self, destination: Any) -> CrazyEggGoals:
        assert isinstance(destination, CrazyEggGoals)
        return destination

    def test_a_conversion_has_goal_user_page_and_value(self, crazy_egg: CrazyEggGoals, server: Vendor) -> None:
        event = Event(
            id="01890a5d-ac96-774b-bcce-b302099a8057",
            name="shop.order.paid",
            timestamp=self.event(1).timestamp,
            data={"value": "12.50", "currency": "eur", "email": "ada@example.org"},
            context={"user_id": 7, "page": "https://example.org/cart"},
        )
        assert fates(crazy_egg.deliver(batch_of([event]))) == ["delivered"]
        assert json.loads(server.calls[0].body) == {
            "goalConversions": [
                {
                    "goalName": "shop.order.paid",
                    "userIdentifier": "7",
                    "url": "https://example.org/cart",
                    "value": 12.5,
                    "currency": "EUR",
                }
            ]
        }

    @pytest.mark.parametrize("value", [None, True, "12,5", "1_000", "NaN", 10**400, [], {}], ids=repr)
    def test_fields_without_a_value_are_left_out(self, value: object, crazy_egg: CrazyEggGoals, server: Vendor) -> None:
        event = msgspec.structs.replace(self.event(1), data={"value": value, "currency": "euros"})
        assert fates(crazy_egg.deliver(batch_of([event]))) == ["delivered"]
        assert not {"value", "currency"} & json.loads(server.calls[0].body)["goalConversions"][0].keys()

    def test_an_event_without_a_person_is_dead_and_the_error_says_what_to_bind(
        self, crazy_egg: CrazyEggGoals, server: Vendor
    ) -> None:
        good, bad = self.event(1), msgspec.structs.replace(self.event(2), context={}, data={})
        assert fates(crazy_egg.deliver(batch_of([bad, good]))) == ["missing_user", "delivered"]
        assert len(server.taken) == 1
