"""Kafka passes the contract of events against librdkafka's brokers; their reports become the events' outcomes."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest

from dispatcher.event import Event
from dispatcher.tasks.destinations.kafka import Kafka
from dispatcher.tasks.testing import Call, EventsContract, batch_of, fates, with_data
from dispatcher.tasks.testing.contract.subject import errors_of
from tests.support.kafka_brokers import KafkaBrokers
from tests.support.waiting import soon

# Numbers of Kafka's protocol.
_MSG_SIZE_TOO_LARGE, _NOT_LEADER, _UNKNOWN_TOPIC, _TOPIC_DENIED, _INVALID_RECORD = 10, 6, 3, 29, 87


class _Calls:
    """The messages of a topic with the face of a stand-in over HTTP: each is a call."""

    refused = 0

    def __init__(self, brokers: KafkaBrokers) -> None:
        self.brokers = brokers
        self.url = brokers.bootstrap

    @property
    def calls(self) -> list[Call]:
        return [
            Call(
                method="PRODUCE",
                path=message.topic(),
                query={},
                headers={name: value.decode() for name, value in message.headers()},
                body=message.value(),
            )
            for message in self.brokers.messages()
        ]


@pytest.fixture(scope="module")
def started_brokers() -> Iterator[KafkaBrokers]:
    with KafkaBrokers() as brokers:
        yield brokers


@pytest.fixture
def brokers(started_brokers: KafkaBrokers) -> KafkaBrokers:
    """The brokers with an empty topic."""
    started_brokers.new_topic()
    return started_brokers


class TestKafka(EventsContract):
    type = "kafka"
    credentials = ()

    @pytest.fixture(autouse=True)
    def _topic(self, brokers: KafkaBrokers) -> None:
        self.topic = brokers.topic

    def options(self, url: str) -> dict[str, Any]:
        return {
            "bootstrap_servers": url,
            "topic": self.topic,
            "settings": {"ssl.key.password": "hidden-password"},
            "timeout_seconds": 10,
        }

    @pytest.fixture
    def server(self, brokers: KafkaBrokers) -> _Calls:  # type: ignore[override]
        return _Calls(brokers)

    def poisoned(self, event: Event) -> Event:
        return with_data(event, note="x" * 1_000_000)

    def events_in(self, call: Call, events: Sequence[Event]) -> int:
        return sum(event.id == call.headers["id"] for event in events)

    def test_a_retry_sends_the_same_request(self, destination: Kafka, brokers: KafkaBrokers) -> None:  # type: ignore[override]
        """Messages that brokers may have are sent as they were."""
        events = self.events(3)
        for attempt in range(2):
            assert fates(destination.deliver(batch_of(events, attempt=attempt))) == ["delivered"] * 3
        messages = [(each.key(), each.value(), tuple(each.headers())) for each in brokers.messages()]
        assert len(messages) == 6
        assert len(set(messages)) == 3

    def test_another_worker_sends_the_same_request(self, brokers: KafkaBrokers) -> None:  # type: ignore[override]
        events = self.events(3)
        for _ in range(2):
            with self.open_destination(brokers.bootstrap) as destination:
                assert fates(destination.deliver(batch_of(events))) == ["delivered"] * 3
        assert len({each.value() for each in brokers.messages()}) == 3

    def test_no_error_and_no_log_has_a_credential_or_personal_data(  # type: ignore[override]
        self, destination: Kafka, brokers: KafkaBrokers, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("DEBUG")
        outcomes = [*destination.deliver(batch_of([*self.events(2), self.poisoned(self.event(3)), b"no event"]))]
        brokers.fail_puts(_TOPIC_DENIED, 10)
        outcomes += destination.deliver(batch_of(self.events(1)))
        assert fates(outcomes) == ["delivered", "delivered", "oversized", "undecodable", "setup"]
        for text in (errors_of(outcomes), caplog.text, repr(destination)):
            assert "hidden" not in text
            assert [word for word in self.personal if word in text] == []

    def test_a_message_has_id_and_name_as_headers_and_its_user_as_key(
        self, destination: Kafka, brokers: KafkaBrokers
    ) -> None:
        event = self.event(1)
        destination.deliver(batch_of([event]))
        (message,) = brokers.messages()
        assert message.headers() == [("id", event.id.encode()), ("name", b"shop.order.paid")]
        assert message.key() == b"7001"
        assert msgspec.json.decode(message.value())["id"] == event.id

    @pytest.mark.parametrize(("key", "found"), [("course", b"course-v1:Org+C1+R1"), ("none", None), ("user", b"7001")])
    def test_the_key_is_what_the_settings_say(self, key: str, found: bytes | None, brokers: KafkaBrokers) -> None:
        with self.open_destination(brokers.bootstrap, key=key, format="edx") as destination:
            assert fates(destination.deliver(batch_of([self.event(1)]))) == ["delivered"]
        (message,) = brokers.messages()
        assert message.key() == found
        assert msgspec.json.decode(message.value())["event_type"] == "shop.order.paid"

    @pytest.mark.parametrize(
        ("code", "fate"),
        [(_MSG_SIZE_TOO_LARGE, "oversized"), (_TOPIC_DENIED, "setup"), (_INVALID_RECORD, "invalid"), (44, "invalid")],
    )
    def test_what_brokers_refuse_has_its_outcome(
        self, code: int, fate: str, destination: Kafka, brokers: KafkaBrokers
    ) -> None:
        brokers.fail_puts(code)
        outcomes = destination.deliver(batch_of([self.event(1)]))
        assert fates(outcomes) == [fate], errors_of(outcomes)
        assert brokers.bootstrap in errors_of(outcomes)
        assert fates(destination.deliver(batch_of([self.event(2)]))) == ["delivered"]

    def test_what_the_client_can_mend_by_itself_is_there_once(self, destination: Kafka, brokers: KafkaBrokers) -> None:
        brokers.fail_puts(_NOT_LEADER, 3)
        assert fates(destination.deliver(batch_of(self.events(20)))) == ["delivered"] * 20
        assert len(brokers.messages()) == 20

    def test_an_unknown_topic_is_a_setup_error(self, brokers: KafkaBrokers) -> None:
        brokers.fail_topic(_UNKNOWN_TOPIC)
        with self.open_destination(brokers.bootstrap) as destination:
            outcomes = destination.deliver(batch_of(self.events(2)))
        assert fates(outcomes) == ["setup"] * 2
        assert "create the topic" in errors_of(outcomes)

    def test_brokers_that_are_away_leave_events_waiting(self) -> None:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            url = f"127.0.0.1:{bound.getsockname()[1]}"
            with self.open_destination(url, timeout_seconds=4) as destination, soon():
                outcomes = destination.deliver(batch_of(self.events(2)))
        assert fates(outcomes) == ["transient"] * 2, errors_of(outcomes)

    def test_a_host_that_cannot_be_found_is_a_setup_error(self) -> None:
        with self.open_destination("dispatcher-contract.invalid:9092", timeout_seconds=4) as destination:
            assert fates(destination.deliver(batch_of(self.events(1)))) == ["setup"]

    def test_a_password_that_is_missing_is_named(self, brokers: KafkaBrokers) -> None:
        given = {"security_protocol": "sasl_plaintext", "username": "site"}
        with self.open_destination(brokers.bootstrap, **given) as destination:
            outcomes = destination.deliver(batch_of(self.events(1)))
        assert fates(outcomes) == ["setup"]
        assert "DISPATCHER_DESTINATIONS__CONTRACT__PASSWORD" in errors_of(outcomes)

    def test_a_setting_that_librdkafka_refuses_is_named(self, brokers: KafkaBrokers) -> None:
        for settings in ({"no.such.setting": "hidden-word"}, {"socket.timeout.ms": "hidden-word"}):
            with self.open_destination(brokers.bootstrap, settings=settings) as destination:
                outcomes = destination.deliver(batch_of(self.events(1)))
            assert fates(outcomes) == ["setup"]
            assert next(iter(settings)) in errors_of(outcomes)
            assert "hidden-word" not in errors_of(outcomes)

    def test_what_is_promised_cannot_be_set_otherwise(self, brokers: KafkaBrokers) -> None:
        for name in ("acks", "enable.idempotence", "message.timeout.ms"):
            with pytest.raises(ValueError, match=name):
                self.make_options(brokers.bootstrap, settings={name: "1"})
        with pytest.raises(ValueError, match="security_protocol"):
            self.make_options(brokers.bootstrap, username="site")
