"""New Relic passes the contract suite, and keeps New Relic's own rules."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from pydantic import ValidationError

from dispatcher.event import Event
from dispatcher.tasks.destinations.new_relic_events import NewRelicEvents
from dispatcher.tasks.testing import DestinationContract, Vendor, batch_of, fates, with_data
from tests.support.vendors.new_relic import ACCOUNT_ID, LICENSE_KEY, NewRelicVendor


class TestNewRelicEvents(DestinationContract):
    type = "new_relic_events"
    credentials = ("account_id", "license_key")

    def options(self, url: str) -> dict[str, Any]:
        return {"host": url, "account_id": ACCOUNT_ID, "license_key": LICENSE_KEY}

    def vendor(self) -> Vendor:
        return NewRelicVendor()

    def complaints(self, server: Vendor) -> list[Any]:
        assert isinstance(server, NewRelicVendor)
        return server.violations

    def oversized(self, event: Event, limit: int) -> Event | None:
        """An event of New Relic's has a limit for each of its texts, and so none of its own."""
        count = limit // 4_000
        return None if count > 200 else with_data(event, **{f"x{number}": "x" * 4_000 for number in range(count)})

    @pytest.fixture
    def new_relic(self, server: Vendor) -> NewRelicVendor:
        assert isinstance(server, NewRelicVendor)
        return server

    def deliver_one(self, event: Event, new_relic: NewRelicVendor, **options: Any) -> dict[str, Any]:
        with self.open_destination(new_relic.url, **options) as destination:
            assert fates(destination.deliver(batch_of([event]))) == ["delivered"]
        assert new_relic.violations == []
        (sent,) = json.loads(new_relic.calls[-1].content)
        assert isinstance(sent, dict)
        return sent

    def test_an_event_is_flat_text_and_numbers_of_one_type(self, new_relic: NewRelicVendor) -> None:
        data = {"n": 1, "f": 0.5, "yes": True, "none": None, "list": [1], "answers": {"block-v1:A+B": "x"}, "a b": "c"}
        sent = self.deliver_one(msgspec.structs.replace(self.event(1), data=data), new_relic)

        assert (sent["eventType"], sent["eventName"]) == ("OpenEdxEvent", "shop.order.paid")
        assert {name: value for name, value in sent.items() if name.startswith("data.")} == {
            "data.n": 1,
            "data.f": 0.5,
            "data.yes": "true",
            "data.list": "[1]",
            "data.answers": '{"block-v1:A+B":"x"}',
            "data.a_b": "c",
        }
        assert sent["context.user_id"] == 7001

    def test_deeper_objects_become_attributes_where_that_is_set(self, new_relic: NewRelicVendor) -> None:
        event = with_data(self.event(1), order={"item": {"sku": {"deep": 1}}})

        assert self.deliver_one(event, new_relic, levels=3)["data.order.item.sku"] == '{"deep":1}'

    def test_what_exceeds_new_relics_limits_is_cut_and_counted(self, new_relic: NewRelicVendor) -> None:
        many = {f"key{number}": number for number in range(400)}
        sent = self.deliver_one(with_data(self.event(1), long="x" * 5_000, **many), new_relic)

        assert len(sent) == 254
        assert len(sent["data.long"]) == 4096
        assert sent["attributesCut"] == 1
        # 4 of its own, 2 that count, and 248 of the 405 in the data and 13 in the context.
        assert sent["attributesLeftOut"] == 405 + 13 - 248

    def test_what_is_a_day_old_is_left_out_and_what_is_to_come_is_dead(
        self, destination: NewRelicEvents, new_relic: NewRelicVendor
    ) -> None:
        now = datetime.now(UTC)
        ages = (timedelta(hours=-25), timedelta(hours=-1), timedelta(hours=23), timedelta(hours=25))
        events = [msgspec.structs.replace(self.event(1), timestamp=now - age) for age in ages]

        outcomes = destination.deliver(batch_of(events))

        assert fates(outcomes) == ["from_the_future", "delivered", "delivered", "too_old"]
        assert new_relic.violations == []

    @pytest.mark.parametrize("event_type", ["", "a b", "a.b", "x" * 256])
    def test_an_event_type_that_new_relic_would_drop_is_refused(self, event_type: str) -> None:
        with pytest.raises(ValidationError):
            self.make_options("https://example.org", event_type=event_type)
