"""ClickHouse passes the contract, drops its repeats by token and by id, and makes outcomes of its codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from dispatcher.event import Event
from dispatcher.tasks.destinations.clickhouse import ClickHouse
from dispatcher.tasks.testing import CUT, Call, DestinationContract, Reply, Vendor, batch_of, fates
from dispatcher.tasks.testing.contract.subject import errors_of
from tests.support.vendors.clickhouse import ClickHouseVendor, exception


class TestClickHouse(DestinationContract):
    type = "clickhouse"
    credentials = ("password",)

    def options(self, url: str) -> dict[str, Any]:
        return {
            "url": url,
            "table": "site.events",
            "username": "site",
            "password": "hidden-password",
            "max_events": 1000,
            "max_bytes": 1_000_000,
            "wait_seconds": 0,
            "gzip": False,
        }

    def vendor(self) -> Vendor:
        return ClickHouseVendor()

    def events_in(self, call: Call, events: Sequence[Event]) -> int:
        return super().events_in(call, events) if "query" in call.query else 0

    def test_a_retry_sends_the_same_request(self, destination: ClickHouse, server: ClickHouseVendor) -> None:  # type: ignore[override]
        """After it has asked what is there."""
        events = self.events(3)
        server.script = [Reply(status=503)]
        assert set(fates(destination.deliver(batch_of(events)))) == {"transient"}
        assert set(fates(destination.deliver(batch_of(events, attempt=1)))) == {"delivered"}
        first, asked, again = server.calls
        assert self.repeatable_parts(again) == self.repeatable_parts(first)
        assert asked.text.startswith("SELECT DISTINCT id")

    def test_another_worker_sends_the_same_request(self, server: ClickHouseVendor) -> None:  # type: ignore[override]
        events = self.events(3)
        with self.open_destination(server.url) as destination:
            server.script = [CUT]
            assert set(fates(destination.deliver(batch_of(events)))) == {"transient"}
        with self.open_destination(server.url) as destination:
            assert set(fates(destination.deliver(batch_of(events, maybe_delivered=True)))) == {"delivered"}
        assert self.repeatable_parts(server.calls[2]) == self.repeatable_parts(server.calls[0])

    def test_what_went_with_others_is_not_inserted_again(
        self, destination: ClickHouse, server: ClickHouseVendor
    ) -> None:
        first, second, third = batch_of(self.events(3)), batch_of(self.events(3)), batch_of(self.events(3))
        destination.deliver_all([first, second])
        half = replace(first, payloads=(*first.payloads[:2], *third.payloads, b"no event"), maybe_delivered=True)
        with self.open_destination(server.url) as other:
            assert fates(other.deliver(half)) == ["delivered"] * 5 + ["undecodable"]
            assert fates(other.deliver(replace(second, attempt=2))) == ["delivered"] * 3
        assert len(server.rows) == 9
        assert set(server.rows.values()) == {1}

    def test_where_nobody_can_say_what_is_there_nothing_is_inserted(
        self, destination: ClickHouse, server: ClickHouseVendor
    ) -> None:
        server.script = [exception(497, "ACCESS_DENIED", 403)]
        assert fates(destination.deliver(batch_of(self.events(2), attempt=1))) == ["setup"] * 2
        (asked,) = server.calls
        assert asked.text.startswith("SELECT")

    def test_without_the_right_to_select_the_token_has_to_do(self, server: ClickHouseVendor) -> None:
        with self.open_destination(server.url, check_repeats=False) as destination:
            events = self.events(2)
            for attempt in range(2):
                assert fates(destination.deliver(batch_of(events, attempt=attempt))) == ["delivered"] * 2
        assert len(server.calls) == 2
        assert set(server.rows.values()) == {1}

    @pytest.mark.parametrize(
        ("code", "name", "status", "fate"),
        [
            (60, "UNKNOWN_TABLE", 404, "setup"),
            (516, "AUTHENTICATION_FAILED", 403, "setup"),
            (115, "UNKNOWN_SETTING", 404, "setup"),
            (252, "TOO_MANY_PARTS", 500, "throttled"),
            (241, "MEMORY_LIMIT_EXCEEDED", 500, "throttled"),
            (159, "TIMEOUT_EXCEEDED", 500, "transient"),
            (242, "TABLE_IS_READ_ONLY", 500, "transient"),
            (117, "INCORRECT_DATA", 400, "invalid"),
            (53, "TYPE_MISMATCH", 500, "invalid"),
        ],
    )
    def test_a_code_has_its_outcome(
        self, code: int, name: str, status: int, fate: str, destination: ClickHouse, server: Vendor
    ) -> None:
        server.always = exception(code, name, status)
        outcomes = destination.deliver(batch_of(self.events(2)))
        assert fates(outcomes) == [fate] * 2, errors_of(outcomes)
        assert f"{name} ({code})" in errors_of(outcomes)
        assert "private" not in errors_of(outcomes)

    def test_a_status_of_success_that_ends_in_an_exception_is_none(
        self, destination: ClickHouse, server: Vendor
    ) -> None:
        server.always = Reply(body=b"\r\nCode: 241. DB::Exception: Memory limit: private. (MEMORY_LIMIT_EXCEEDED)\r\n")
        assert fates(destination.deliver(batch_of(self.events(1)))) == ["throttled"]

    def test_light_traffic_waits(self, server: Vendor) -> None:
        with self.open_destination(server.url, wait_seconds=5) as destination:
            batch = replace(batch_of(self.events(2)), put_at=100.0, waited_seconds=1.0)
            assert fates(destination.deliver(batch)) == ["rate_limited"] * 2
            assert fates(destination.deliver(replace(batch, waited_seconds=5.0))) == ["delivered"] * 2
        assert len(server.calls) == 1

    @pytest.mark.parametrize("table", ["events; DROP TABLE events", "a.b.c", "`x`", "", "x y"])
    def test_a_table_is_a_word(self, table: str, server: Vendor) -> None:
        with pytest.raises(ValueError, match="table"):
            self.make_options(server.url, table=table)
