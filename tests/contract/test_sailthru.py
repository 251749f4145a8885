"""Sailthru passes the contract suite, and keeps Sailthru's own rules."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import pytest

from dispatcher.event import Event
from dispatcher.outcomes import DELIVERED, Dead, RetryAfter
from dispatcher.tasks.destinations.sailthru import Sailthru
from dispatcher.tasks.testing import CUT, DestinationContract, Reply, Vendor
from dispatcher.tasks.testing.contract.subject import batch_of, fates
from tests.support.vendors.sailthru import API_KEY, SECRET, SailthruVendor, error


class TestSailthru(DestinationContract):
    type = "sailthru"

    def options(self, url: str) -> dict[str, Any]:
        return {"host": url, "api_key": API_KEY, "secret": SECRET}

    def vendor(self) -> Vendor:
        return SailthruVendor()

    def steady(self, body: Any) -> Any:
        # A preview shows a form as what is in it.
        form = dict(parse_qsl(body)) if isinstance(body, str) else body
        return form if isinstance(form["json"], dict) else {**form, "json": json.loads(form["json"])}

    @pytest.fixture
    def sailthru(self, destination: Any) -> Sailthru:
        assert isinstance(destination, Sailthru)
        return destination

    def test_every_event_is_accepted_with_its_id(self, sailthru: Sailthru, server: Vendor) -> None:
        events = self.events(30)
        assert list(sailthru.deliver(batch_of(events))) == [DELIVERED] * 30
        assert server.taken == {event.id: 1 for event in events}

    def test_several_requests_are_sent_at_a_time(self, sailthru: Sailthru) -> None:
        assert sailthru.concurrency == 8
        assert sailthru.requests_per_second == 40

    def test_people_without_an_email_address_are_identified_by_user_id(
        self, sailthru: Sailthru, server: Vendor
    ) -> None:
        event = msgspec.structs.replace(self.event(1), context={"user_id": 7})
        assert fates(sailthru.deliver(batch_of([event]))) == ["delivered"]
        assert server.taken[event.id] == 1

    @pytest.mark.parametrize("changes", [{"secret": "of-another"}, {"api_key": "of-another"}], ids=["secret", "key"])
    def test_refused_credentials_are_a_setup_error(self, changes: dict[str, str], server: Vendor) -> None:
        with self.open_destination(server.url, **changes) as destination:
            outcomes = destination.deliver(batch_of(self.events(20)))
        assert set(fates(outcomes)) == {"setup"}
        assert not server.taken
        # What is under way when the first refusal comes is answered too; nothing more is begun.
        assert len(server.calls) <= 8

    def test_an_error_with_status_200_is_not_a_delivery(self, sailthru: Sailthru, server: Vendor) -> None:
        refusal = error(400, 11, "Invalid email")
        server.script.append(Reply(status=200, body=refusal.body))
        assert fates(sailthru.deliver(batch_of(self.events(1)))) == ["invalid"]

    def test_a_throttled_account_pauses_until_its_reset(self, sailthru: Sailthru, server: Vendor) -> None:
        headers = {
            "X-Rate-Limit-Limit": "40",
            "X-Rate-Limit-Remaining": "0",
            "X-Rate-Limit-Reset": f"{time.time() + 30:.0f}",
        }
        server.always = error(429, 43, "Too many POST requests this minute to /event API", headers)
        outcomes = sailthru.deliver(batch_of(self.events(20)))
        assert set(fates(outcomes)) == {"throttled"}
        (first, *_) = outcomes
        assert isinstance(first, RetryAfter)
        assert first.seconds is not None
        assert 0 < first.seconds <= 31
        assert len(server.calls) <= 8

    def test_events_sent_above_the_vendors_limit_are_not_lost(self) -> None:
        with (
            SailthruVendor(requests_per_second=5) as vendor,
            self.open_destination(vendor.url, concurrency=1) as destination,
        ):
            events = self.events(20)
            outcomes = destination.deliver(batch_of(events))
            assert set(fates(outcomes)) <= {"delivered", "throttled"}
            assert vendor.taken == {
                event.id: 1 for event, fate in zip(events, fates(outcomes), strict=True) if fate == "delivered"
            }

    def test_a_lost_answer_repeats_the_event_unless_at_most_once_is_set(self, server: Vendor) -> None:
        for at_most_once, expected in ((False, 2), (True, 1)):
            event = self.event(1)
            with self.open_destination(server.url, at_most_once=at_most_once) as destination:
                taken = server.answer

                def lost(call: Any, taken: Any = taken) -> Reply:
                    server.taken.update(taken(call).taken)
                    return CUT

                server.answer = lost  # type: ignore[method-assign]
                (outcome,) = destination.deliver(batch_of([event]))
                server.answer = taken  # type: ignore[method-assign]
                if isinstance(outcome, RetryAfter):
                    destination.deliver(batch_of([event], attempt=1))
                else:
                    assert isinstance(outcome, Dead)
                    assert outcome.reason == "unanswered"
            assert server.taken[event.id] == expected

    @pytest.mark.parametrize("name", ["open", "purchase"])
    def test_a_reserved_name_makes_no_other_event_dead(self, name: str, sailthru: Sailthru, server: Vendor) -> None:
        good = self.event(1)
        bad: Event = msgspec.structs.replace(self.event(2), name=name)
        assert fates(sailthru.deliver(batch_of([bad, good]))) == ["reserved_name", "delivered"]
        assert len(server.calls) == 1
