"""Datadog passes the contract suite, and keeps Datadog's own rules."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from dispatcher.tasks.destinations.datadog_logs import DatadogLogs
from dispatcher.tasks.testing import DestinationContract, Vendor, batch_of, fates, with_data
from tests.support.vendors.datadog import API_KEY, DatadogVendor


class TestDatadogLogs(DestinationContract):
    type = "datadog_logs"

    def options(self, url: str) -> dict[str, Any]:
        return {"host": url, "api_key": API_KEY, "service": "shop", "tags": {"env": "test", "team": "data"}}

    def vendor(self) -> Vendor:
        return DatadogVendor()

    def complaints(self, server: Vendor) -> list[Any]:
        assert isinstance(server, DatadogVendor)
        return server.violations

    @pytest.fixture
    def datadog(self, server: Vendor) -> DatadogVendor:
        assert isinstance(server, DatadogVendor)
        return server

    def test_an_event_is_a_log_with_its_own_time(self, destination: DatadogLogs, datadog: DatadogVendor) -> None:
        event = self.event(1)
        destination.deliver(batch_of([event]))

        (log,) = json.loads(datadog.calls[0].content)
        assert log["message"] == "shop.order.paid"
        assert log["timestamp"] == int(event.timestamp.timestamp() * 1000)
        assert (log["service"], log["ddsource"], log["ddtags"]) == ("shop", "dispatcher", "env:test,team:data")
        assert log["hostname"] == "shop.example.org"
        assert log["event"] == {"id": event.id, "name": event.name, "data": event.data, "context": event.context}

    def test_what_datadog_would_cut_or_drop_is_not_sent(self, destination: DatadogLogs, datadog: DatadogVendor) -> None:
        long = with_data(self.event(1), note="x" * 1_000_000)
        hours = (17.9, 18.1)
        aged = [
            msgspec.structs.replace(self.event(2), timestamp=datetime.now(UTC) - timedelta(hours=age)) for age in hours
        ]

        assert fates(destination.deliver(batch_of([long, *aged]))) == ["oversized", "delivered", "too_old"]
        assert datadog.violations == []

    def test_the_intake_is_that_of_the_site(self) -> None:
        options = self.make_options("https://unused.example.org", host=None, site="us5.datadoghq.com")

        assert DatadogLogs("ours", options).endpoint == "https://http-intake.logs.us5.datadoghq.com/api/v2/logs"
