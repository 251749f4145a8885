"""xAPI and Caliper pass the contract suite, with an LRS's own rules; transformers of the test's own stand in.

Those of event-routing-backends itself, and a real LRS, are in tests/integration/test_lrs.py.
"""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from pydantic import ValidationError

from dispatcher.errors import DropEvent, TryLaterError
from dispatcher.event import Event
from dispatcher.outcomes import DELIVERED, NO_TRANSFORMER
from dispatcher.tasks.destinations.event_routing_backends import destination as module
from dispatcher.tasks.destinations.event_routing_backends.destination import EventRoutingBackendsOptions
from dispatcher.tasks.testing import DestinationContract, Reply, Vendor, batch_of, fates, with_data
from tests.support.vendors.lrs import PASSWORD, USERNAME, CaliperVendor, LrsVendor


class StandIn:
    """Transforms any event: as many statements as its data says in ``statements``, each with the event's id in it."""

    root_url = "https://lms.example.org"
    #: Names of events that are asked for while something is away.
    away: frozenset[str] = frozenset()
    asked = 0

    def __init__(self, *_: object) -> None:
        pass

    def problem(self) -> str | None:
        return None

    def release(self) -> None:
        pass

    def transform(self, event: Event) -> list[dict[str, Any]]:
        StandIn.asked += 1
        if event.name in self.away:
            raise TryLaterError("the LMS's database cannot be asked now")
        if event.name == "no.transformer":
            raise DropEvent(NO_TRANSFORMER)
        count = event.data.get("statements", 1) if isinstance(event.data, dict) else 1
        return [
            {
                "id": statement_id(event, number),
                "actor": {"account": {"homePage": self.root_url, "name": "a1b2"}},
                "verb": {"id": "http://adlnet.gov/expapi/verbs/registered"},
                "object": {"id": f"{self.root_url}/course/1"},
                "context": {"extensions": {"event": event.id, "data": event.data}},
            }
            for number in range(count)
        ]


def statement_id(event: Event, number: int = 0) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{event.id}-{number}"))


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Transformers", StandIn)
    monkeypatch.setattr(StandIn, "asked", 0)


class TestXapi(DestinationContract):
    type = "event_routing_backends"

    def options(self, url: str) -> dict[str, Any]:
        return {"url": f"{url}/xAPI", "username": USERNAME, "password": PASSWORD}

    def vendor(self) -> Vendor:
        return LrsVendor()

    @pytest.fixture
    def lrs(self, server: Vendor) -> LrsVendor:
        assert isinstance(server, LrsVendor)
        return server

    def test_a_request_has_many_statements(self, destination: Any, lrs: LrsVendor) -> None:
        events = self.events(250)
        assert list(destination.deliver(batch_of(events))) == [DELIVERED] * 250
        assert [len(call.value) for call in lrs.calls] == [100, 100, 50]
        assert set(lrs.statements) == {statement_id(event) for event in events}

    def test_what_is_there_already_is_delivered_and_the_rest_too(self, destination: Any, lrs: LrsVendor) -> None:
        events = self.events(8)
        lrs.statements[statement_id(events[3])] = {"of": "another"}
        assert fates(destination.deliver(batch_of(events))) == ["delivered"] * 8
        assert set(lrs.statements) == {statement_id(event) for event in events}
        assert lrs.statements[statement_id(events[3])] == {"of": "another"}

    def test_some_statements_of_an_event_are_there_already(self, destination: Any, lrs: LrsVendor) -> None:
        event = with_data(self.event(1), statements=3)
        lrs.statements[statement_id(event, 1)] = {"of": "another"}
        assert fates(destination.deliver(batch_of([event]))) == ["delivered"]
        assert set(lrs.statements) == {statement_id(event, number) for number in range(3)}

    def test_an_lrs_that_goes_away_between_statements_is_asked_again(self, destination: Any, lrs: LrsVendor) -> None:
        event = with_data(self.event(1), statements=3)
        lrs.script += [Reply(status=409), Reply(), Reply(status=503)]
        assert fates(destination.deliver(batch_of([event]))) == ["transient"]
        assert fates(destination.deliver(batch_of([event]))) == ["delivered"]
        assert set(lrs.statements) == {statement_id(event, number) for number in range(3)}

    def test_the_same_event_twice_is_one_statement(self, destination: Any, lrs: LrsVendor) -> None:
        event = self.event(1)
        assert fates(destination.deliver(batch_of([event, event]))) == ["delivered"] * 2
        assert fates(destination.deliver(batch_of([event]))) == ["delivered"]
        assert [len(call.value) for call in lrs.calls] == [1, 1]
        assert len(lrs.statements) == 1

    def test_a_bad_statement_takes_no_other_along(self, destination: Any, lrs: LrsVendor) -> None:
        events = [self.poisoned(event) if number == 5 else event for number, event in enumerate(self.events(20))]
        assert fates(destination.deliver(batch_of(events))) == ["delivered"] * 5 + ["invalid"] + ["delivered"] * 14
        assert len(lrs.statements) == 19

    def test_an_lrs_that_takes_requests_in_part_loses_nothing(self, destination: Any, lrs: LrsVendor) -> None:
        lrs.in_part = True
        events = [self.poisoned(event) if number == 5 else event for number, event in enumerate(self.events(20))]
        for _ in range(2):
            assert fates(destination.deliver(batch_of(events))) == ["delivered"] * 5 + ["invalid"] + ["delivered"] * 14
        assert len(lrs.statements) == 19

    def test_an_event_without_a_transformer_is_filtered(self, destination: Any, lrs: LrsVendor) -> None:
        events = [renamed(event, "no.transformer") for event in self.events(2)] + self.events(1)
        assert fates(destination.deliver(batch_of(events))) == ["no_transformer"] * 2 + ["delivered"]

    def test_events_wait_while_the_database_is_away(
        self, destination: Any, lrs: LrsVendor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(StandIn, "away", frozenset({"away"}))
        good, away = self.events(2), [renamed(event, "away") for event in self.events(20)]
        outcomes = destination.deliver(batch_of([*good, *away]))
        assert fates(outcomes) == ["delivered"] * 2 + ["transient"] * 20
        # Each would wait for a database that does not answer.
        assert StandIn.asked == 2 + 3

    def test_what_would_wait_is_previewed_so(self, destination: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(StandIn, "away", frozenset({"away"}))
        assert "database" in destination.preview(renamed(self.event(1), "away"))["missing"]

    @pytest.mark.parametrize(
        "options",
        [{"username": None}, {"token": "of-another"}],
        ids=["no_username", "two_ways"],
    )
    def test_half_an_authentication_is_refused(self, options: dict[str, Any]) -> None:
        given = {"url": "https://lrs.example.org/xAPI", "username": USERNAME, "password": PASSWORD, **options}
        with pytest.raises(ValidationError) as refused:
            EventRoutingBackendsOptions(**{name: value for name, value in given.items() if value is not None})
        assert PASSWORD not in str(refused.value)


class TestCaliper(DestinationContract):
    type = "event_routing_backends"
    credentials = ()

    def options(self, url: str) -> dict[str, Any]:
        return {"url": f"{url}/caliper", "format": "caliper", "token": "hidden-token"}

    def vendor(self) -> Vendor:
        return CaliperVendor()

    def steady(self, body: Any) -> Any:
        return {**body, "sendTime": None}

    def test_an_envelope_has_many_events_and_a_repeat_the_same_ids(self, destination: Any, server: Vendor) -> None:
        events = self.events(30)
        for _ in range(2):
            assert fates(destination.deliver(batch_of(events))) == ["delivered"] * 30
        assert [len(call.value["data"]) for call in server.calls] == [30, 30]
        assert set(server.taken.values()) == {2}
        assert {call.value["sensor"] for call in server.calls} == {"https://lms.example.org"}

    def test_conflict_is_no_delivery_there(self, destination: Any, server: Vendor) -> None:
        server.always = Reply(status=409)
        assert fates(destination.deliver(batch_of(self.events(1)))) == ["setup"]


def renamed(event: Event, name: str) -> Event:
    return Event(id=event.id, name=name, timestamp=event.timestamp, data=event.data, context=event.context)
