"""Splunk HEC passes the contract suite, with and without acknowledgements, and keeps Splunk's own rules."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dispatcher.outcomes import Dead, RetryAfter
from dispatcher.tasks.destinations.splunk_hec import SplunkHec, SplunkHecOptions
from dispatcher.tasks.testing import DestinationContract, Reply, Vendor, batch_of, fates
from dispatcher.tasks.testing.contract.subject import errors_of
from tests.support.vendors.splunk import INDEX, TOKEN, SplunkVendor


def code_reply(status: int, code: int, **more: int) -> Reply:
    return Reply(status=status, body=json.dumps({"text": "words", "code": code, **more}).encode())


class TestSplunkHec(DestinationContract):
    type = "splunk_hec"

    def options(self, url: str) -> dict[str, Any]:
        return {"url": url, "token": TOKEN, "index": INDEX, "max_events": 100}

    def vendor(self) -> Vendor:
        return SplunkVendor()

    @pytest.fixture
    def splunk(self, server: Vendor) -> SplunkVendor:
        assert isinstance(server, SplunkVendor)
        return server

    def test_an_event_is_in_splunks_envelope(self, destination: SplunkHec, splunk: SplunkVendor) -> None:
        event = self.event(1)
        destination.deliver(batch_of([event]))

        (sent,) = (call.value for call in splunk.calls)
        assert sent["time"] == pytest.approx(event.timestamp.timestamp(), abs=1e-6)
        assert sent["host"] == "shop.example.org"
        assert (sent["source"], sent["sourcetype"], sent["index"]) == ("dispatcher", "dispatcher:event", INDEX)
        assert sent["event"] == {"id": event.id, "name": event.name, "data": event.data, "context": event.context}
        assert sent["fields"] == {"event_id": event.id, "event_name": event.name}

    def test_what_stood_before_a_refused_event_is_not_sent_again(
        self, destination: SplunkHec, splunk: SplunkVendor
    ) -> None:
        events = self.events(40)
        bad = {17, 18, 39}
        batch = batch_of([self.poisoned(event) if place in bad else event for place, event in enumerate(events)])

        outcomes = destination.deliver(batch)

        assert [place for place, outcome in enumerate(outcomes) if isinstance(outcome, Dead)] == sorted(bad)
        assert splunk.taken == {event.id: 1 for place, event in enumerate(events) if place not in bad}

    @pytest.mark.parametrize(
        ("status", "code", "fate"),
        [
            *[(403, 1, "setup"), (401, 2, "setup"), (401, 3, "setup"), (403, 4, "setup"), (400, 7, "setup")],
            *[(400, 10, "setup"), (400, 11, "setup"), (400, 14, "setup"), (400, 16, "setup"), (200, 4, "setup")],
            *[
                (400, 5, "invalid"),
                (400, 6, "invalid"),
                (400, 12, "invalid"),
                (400, 13, "invalid"),
                (400, 15, "invalid"),
            ],
            *[(500, 8, "transient"), (503, 9, "transient"), (503, 18, "transient"), (503, 20, "transient")],
            *[(503, 23, "transient"), (503, 99, "transient"), (200, 99, "transient"), (200, 0, "delivered")],
        ],
    )
    def test_a_code_has_its_outcome(
        self, status: int, code: int, fate: str, destination: SplunkHec, splunk: SplunkVendor
    ) -> None:
        splunk.always = code_reply(status, code)

        assert fates(destination.deliver(batch_of(self.events(2)))) == [fate] * 2

    def test_a_page_in_place_of_the_collector_is_a_setup_error(
        self, destination: SplunkHec, splunk: SplunkVendor
    ) -> None:
        splunk.always = Reply(body=b"<html>Splunk Web</html>")

        outcomes = destination.deliver(batch_of(self.events(1)))

        assert fates(outcomes) == ["setup"]
        assert "url" in errors_of(outcomes)

    def test_a_token_that_wants_a_channel_says_what_to_set(self) -> None:
        with SplunkVendor(acknowledges=True) as splunk, self.open_destination(splunk.url) as destination:
            outcomes = destination.deliver(batch_of(self.events(1)))

        assert fates(outcomes) == ["setup"]
        assert "acknowledge = true" in errors_of(outcomes)


class TestSplunkHecAcknowledged:
    """Acknowledgements change when an event counts as delivered, and nothing else."""

    subject = TestSplunkHec()

    @pytest.fixture
    def splunk(self) -> Any:
        with SplunkVendor(acknowledges=True) as vendor:
            yield vendor

    def deliver(self, splunk: SplunkVendor, **options: Any) -> list[Any]:
        with self.subject.open_destination(splunk.url, acknowledge=True, **options) as destination:
            return list(destination.deliver(batch_of(self.subject.events(3))))

    def test_events_are_delivered_once_they_are_indexed(self, splunk: SplunkVendor) -> None:
        splunk.questions_before_indexed = 2

        assert fates(self.deliver(splunk)) == ["delivered"] * 3
        ((asked,),) = splunk.channels.values()
        assert asked == 3
        assert len(splunk.event_calls) == 1

    def test_events_that_are_not_indexed_in_time_are_sent_again(self, splunk: SplunkVendor) -> None:
        splunk.questions_before_indexed = -1

        outcomes = self.deliver(splunk, acknowledge_timeout_seconds=0.25)

        assert fates(outcomes) == ["transient"] * 3
        assert "0.25 s" in errors_of(outcomes)
        again = self.deliver(splunk, acknowledge_timeout_seconds=0.25, at_most_once=True)
        assert fates(again) == ["unanswered"] * 3

    def test_nothing_is_sent_with_a_token_that_does_not_acknowledge(self) -> None:
        with SplunkVendor() as splunk:
            outcomes = self.deliver(splunk)

            assert fates(outcomes) == ["setup"] * 3
            assert "acknowledge = false" in errors_of(outcomes)
            assert splunk.event_calls == []
            assert splunk.taken == {}

    def test_an_answer_without_a_number_to_ask_for_leaves_events_waiting(self, splunk: SplunkVendor) -> None:
        splunk.script = [Reply(body=b'{"acks":{}}'), code_reply(200, 0)]

        (outcome, *_) = self.deliver(splunk)

        assert isinstance(outcome, RetryAfter)
        assert "ackId" in outcome.error

    def test_refused_events_are_not_waited_for(self, splunk: SplunkVendor) -> None:
        with self.subject.open_destination(splunk.url, acknowledge=True) as destination:
            good, bad = self.subject.events(2)
            outcomes = destination.deliver(batch_of([good, self.subject.poisoned(bad)]))

        assert fates(outcomes) == ["delivered", "invalid"]

    def test_a_lease_has_to_outlast_the_wait(self) -> None:
        options = SplunkHecOptions.model_validate({"url": "https://splunk.example.com", "acknowledge": True})
        assert SplunkHec.longest_seconds(options) == 56
        assert SplunkHec.longest_seconds(options.model_copy(update={"acknowledge": False})) == 13
