"""OTLP logs pass the contract suite; OpenTelemetry's own classes read every request, and its rules of retrying hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

import msgspec
import pytest

from dispatcher.outcomes import Dead
from dispatcher.tasks.destinations.otlp_logs import OtlpLogs
from dispatcher.tasks.testing import DestinationContract, Reply, Vendor, batch_of, fates, with_data
from dispatcher.tasks.testing.contract.subject import errors_of
from tests.support.vendors.otlp import KEY, OtlpVendor, records_of

_TRACE: Final = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class TestOtlpLogs(DestinationContract):
    type = "otlp_logs"
    credentials = ()
    # Which the protocol forbids to try again.
    answers: ClassVar[Mapping[int, str]] = {408: "unrepeatable", 500: "unrepeatable"}

    def options(self, url: str) -> dict[str, Any]:
        return {
            "url": url,
            "headers": {"api-key": KEY},
            "resource": {"deployment.environment.name": "test"},
            "max_events": 100,
            "max_bytes": 200_000,
        }

    def vendor(self) -> Vendor:
        return OtlpVendor()

    def test_a_record_has_the_event_in_its_own_fields(self, destination: OtlpLogs, server: Vendor) -> None:
        event = self.event(1)
        data = {"n": 1, "big": 2**63 - 1, "more": 2**63, "f": 0.5, "yes": True, "none": None, "list": [1, "a"], "": {}}
        event = msgspec.structs.replace(event, data=data, context={**event.context, "traceparent": _TRACE})
        destination.deliver(batch_of([event]))

        (record,) = records_of(server.calls[0])
        assert record.time_unix_nano == int(event.timestamp.timestamp() * 1e6 + 0.5) * 1000
        assert record.event_name == "shop.order.paid"
        assert record.severity_number == 9
        assert (record.trace_id.hex(), record.span_id.hex()) == (_TRACE[3:35], _TRACE[36:52])
        body = {pair.key: pair.value for pair in record.body.kvlist_value.values}
        assert body["big"].int_value == 2**63 - 1
        assert body["more"].string_value == str(2**63)
        assert body["f"].double_value == 0.5
        assert body["yes"].bool_value is True
        assert body["none"].WhichOneof("value") is None
        assert [value.WhichOneof("value") for value in body["list"].array_value.values] == ["int_value", "string_value"]
        attributes = {pair.key: pair.value for pair in record.attributes}
        assert attributes["org_id"].string_value == "Org"
        assert attributes["user_id"].int_value == 7001
        assert attributes["event.id"].string_value == event.id

    def test_what_nests_deeper_than_readers_allow_is_text(self, destination: OtlpLogs, server: Vendor) -> None:
        nested: Any = "bottom"
        for _ in range(60):
            nested = [{"a": nested}]

        assert fates(destination.deliver(batch_of([with_data(self.event(1), nested=nested)]))) == ["delivered"]
        assert records_of(server.calls[0])

    @pytest.mark.parametrize("year", [1, 1969, 9999])
    def test_a_time_that_the_protocol_cannot_say_is_unknown(
        self, year: int, destination: OtlpLogs, server: Vendor
    ) -> None:
        event = msgspec.structs.replace(self.event(1), timestamp=datetime(year, 12, 31, tzinfo=UTC))

        assert fates(destination.deliver(batch_of([event]))) == ["delivered"]
        assert records_of(server.calls[0])[0].time_unix_nano == 0

    @pytest.mark.parametrize(
        ("partial", "fate"),
        [
            ({"rejectedLogRecords": "1", "errorMessage": "private"}, "unrepeatable"),
            ({"rejectedLogRecords": 2}, "invalid"),
            ({"rejectedLogRecords": "0", "errorMessage": "a warning"}, "delivered"),
            ({}, "delivered"),
            (None, "delivered"),
        ],
        ids=["some", "all", "warning", "empty", "null"],
    )
    def test_rejected_records_are_never_sent_again(
        self, partial: Any, fate: str, destination: OtlpLogs, server: Vendor
    ) -> None:
        server.always = Reply(body=json.dumps({"partialSuccess": partial}).encode())

        outcomes = destination.deliver(batch_of(self.events(2)))

        assert fates(outcomes) == [fate] * 2
        assert len(server.calls) == 1
        assert "private" not in errors_of(outcomes)

    @pytest.mark.parametrize("status", [500, 501, 505, 408, 425])
    def test_a_failure_that_may_not_be_repeated_is_final(
        self, status: int, destination: OtlpLogs, server: Vendor
    ) -> None:
        server.always = Reply(status=status)

        (outcome,) = destination.deliver(batch_of(self.events(1)))

        assert isinstance(outcome, Dead)
        assert (outcome.reason, outcome.retry_class) == ("unrepeatable", "transient"), "the breaker counts it"
        assert len(server.calls) == 1

    @pytest.mark.parametrize("status", [429, 502, 503, 504])
    def test_a_failure_that_may_be_repeated_is(self, status: int, destination: OtlpLogs, server: Vendor) -> None:
        server.script = [Reply(status=status, headers={"Retry-After": "7"})]
        events = self.events(2)

        (first, _) = destination.deliver(batch_of(events))

        assert getattr(first, "seconds", None) == 7.0
        assert fates(destination.deliver(batch_of(events, attempt=1))) == ["delivered"] * 2
