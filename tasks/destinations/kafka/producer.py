"""Producer: sends messages by librdkafka, and waits for the report of each. Nothing else imports confluent_kafka."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dispatcher.errors import SetupError
from dispatcher.outcomes import DELIVERED, RetryAfter
from dispatcher.tasks.destinations.kafka.reports import is_setup, outcome_of

if TYPE_CHECKING:
    from dispatcher.outcomes import Outcome

logger = logging.getLogger(__name__)

# How librdkafka names a setting that it refuses.
_PROPERTY: Final = re.compile(r'property:? "([a-z._]{1,80})"')
# Seconds after which a thread looks whether another one has got its reports.
_POLL_SECONDS: Final = 0.05


class Message(msgspec.Struct, frozen=True, gc=False):
    """What becomes of an event.

    Args:
        id: The event's.
        name: The event's.
        key: What decides its partition; None for any.
        value: Its contents.
    """

    id: str
    name: str
    key: bytes | None
    value: bytes

    @property
    def headers(self) -> list[tuple[str, bytes]]:
        """What readers may look at without decoding the value."""
        return [("id", self.id.encode("utf-8", "replace")), ("name", self.name.encode("utf-8", "replace"))]

    @property
    def size(self) -> int:
        """How many bytes it takes, by the form of Kafka's records, with some to spare."""
        return (
            len(self.value) + len(self.key or b"") + sum(len(name) + len(value) for name, value in self.headers) + 100
        )


class Producer:
    """Sends to one topic. Safe in threads; makes its client at the first message, which must not cross a fork.

    Args:
        config: As librdkafka names its settings.
        topic: The topic.
        label: What errors call the destination.
    """

    def __init__(self, config: Mapping[str, Any], *, topic: str, label: str) -> None:
        self._config = dict(config)
        self._topic = topic
        self._label = label
        self._client: Any = None
        self._lock = threading.Lock()
        # The name of what keeps the client from its brokers; empty where nothing is known to.
        self._trouble = ""

    def send(self, messages: Sequence[Message], *, until: float) -> list[Outcome]:
        """Send messages, and wait for what becomes of each. Blocks up to ``until``, on ``time.monotonic``'s clock.

        What has no report by then may still be taken.

        Raises:
            SetupError: librdkafka refuses a setting.
        """
        client = self._open()
        reports = _Reports(len(messages))
        for place, message in enumerate(messages):
            self._produce(client, message, place, reports, until)
        while not reports.are_all.is_set() and time.monotonic() < until:
            client.poll(_POLL_SECONDS)
        outcomes = [self._outcome(report) for report in reports.found]
        if any(
            error is not None and error is not _NONE and (error.fatal() or is_setup(error)) for error in reports.found
        ):
            # It would say the same of the topic for minutes, whatever somebody has mended.
            self._let_go(client)
        return outcomes

    def close(self) -> None:
        """Let go of the client. May be called twice; ``send`` makes another one."""
        self._let_go(self._client)

    def _produce(self, client: Any, message: Message, place: int, reports: _Reports, until: float) -> None:
        from confluent_kafka import KafkaException  # noqa: PLC0415 - an extra

        def report(error: Any, _: Any) -> None:
            reports.add(place, error)

        while True:
            try:
                client.produce(self._topic, message.value, message.key, headers=message.headers, on_delivery=report)
                return
            except BufferError:  # the client holds as many as it may: others are sending too
                if time.monotonic() >= until:
                    reports.leave(place)
                    return
                client.poll(_POLL_SECONDS)
            except KafkaException as error:
                reports.add(place, error.args[0])
                return

    def _outcome(self, report: Any) -> Outcome:
        if report is None:
            self._trouble = ""
            return DELIVERED
        if report is _NONE:
            return RetryAfter(f"{self._label} gave no report in time: it may still take it")
        return outcome_of(report, label=self._label, trouble=self._trouble)

    def _open(self) -> Any:
        import confluent_kafka  # noqa: PLC0415 - an extra

        with self._lock:
            if self._client is None:
                config = {**self._config, "error_cb": self._note_trouble, "logger": logger}
                try:
                    self._client = confluent_kafka.Producer(config)
                except confluent_kafka.KafkaException as error:
                    # Its text repeats the value.
                    name = _PROPERTY.search(str(error))
                    raise SetupError(f"librdkafka refuses {'a setting' if name is None else name[1]}") from None
            return self._client

    def _note_trouble(self, error: Any) -> None:
        name = str(error.name())
        # That no broker is there follows from what keeps it from each of them.
        if name != "_ALL_BROKERS_DOWN" or not self._trouble:
            self._trouble = name
        if is_setup(error):
            logger.warning("%s says %s", self._label, name)

    def _let_go(self, client: Any) -> None:
        with self._lock:
            if self._client is client:
                self._client = None


# In place of a report that has not come.
_NONE: Final = object()


class _Reports:
    """The reports of some messages, as they come, in whichever thread polls."""

    def __init__(self, count: int) -> None:
        self.found: Final[list[Any]] = [_NONE] * count
        self.are_all: Final = threading.Event()
        self._left = count
        self._lock = threading.Lock()
        if count == 0:
            self.are_all.set()

    def add(self, place: int, error: Any) -> None:
        """Take one: None for a message that every replica has."""
        self.found[place] = error
        self.leave(place)

    def leave(self, _: int) -> None:
        """Expect none for a message."""
        with self._lock:
            self._left -= 1
            if self._left == 0:
                self.are_all.set()
