"""Kafka: each event becomes a message of a topic; the report of each decides, so that only what failed comes again.

The producer is idempotent and waits for all replicas: what librdkafka itself repeats is there once. That holds for one
session of a producer. What another worker sends again, since the first one was killed, is there twice with one id.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from dispatcher.destinations.base import Batch, Destination, Options, reveal
from dispatcher.destinations.identifiers import to_id
from dispatcher.destinations.traits import KAFKA
from dispatcher.edx_log.render import Format, renderer
from dispatcher.errors import SetupError
from dispatcher.event import data_fields, encode
from dispatcher.installation.extras import install_command
from dispatcher.outcomes import Dead, Filtered, Outcome, RetryAfter
from dispatcher.tasks.destinations.http import Limits
from dispatcher.tasks.destinations.http.packing import Entry, to_entry, too_deep
from dispatcher.tasks.destinations.http.reader import EventReader
from dispatcher.tasks.destinations.kafka.producer import Message, Producer
from dispatcher.tasks.destinations.person import Person

if TYPE_CHECKING:
    from dispatcher.event import Event
    from dispatcher.rules.rules import Rules
    from dispatcher.store.rate_limit import Rate

# What follows from other options, or from what is promised.
_OURS: Final = frozenset(
    {
        *("acks", "request.required.acks", "enable.idempotence", "transactional.id", "error_cb", "logger", "dr_cb"),
        *("bootstrap.servers", "metadata.broker.list", "message.timeout.ms", "delivery.timeout.ms"),
        *("message.max.bytes", "compression.type", "compression.codec", "security.protocol"),
        *("sasl.mechanism", "sasl.mechanisms", "sasl.username", "sasl.password", "ssl.ca.location"),
    }
)
# How long before the end of a delivery librdkafka gives a message up, since it looks for such ones once a second only;
# and the fraction of a short one.
_LAST_SECONDS: Final = 2.0
_MESSAGE_FRACTION: Final = 0.4
# For how long a topic that was made a moment ago may be unknown to a broker.
_NEW_TOPIC_MS: Final = 3000
# A topic's name, by Kafka's own rules.
_TOPIC: Final = r"^[a-zA-Z0-9._-]{1,249}$"


class KafkaOptions(Options):
    """The settings of a topic."""

    bootstrap_servers: str = Field(min_length=1, description="Brokers as host:port, with commas between.")
    topic: str = Field(pattern=_TOPIC, description="Which topic; it has to exist, or the brokers make it.")
    key: Literal["user", "course", "none"] = Field(
        default="user", description="What decides the partition: events of one user, or of one course, stay in order."
    )
    format: Format = Field(default="event", description='"event", or "edx" and "tutor" as in the tracking log.')
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = Field(
        default="lz4", description="How the client compresses what goes together."
    )
    max_message_bytes: int = Field(
        default=1_000_000, ge=1000, le=1_000_000_000, description="What the topic takes; larger events are dead."
    )
    security_protocol: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = Field(
        default="plaintext", description="How brokers are spoken to."
    )
    sasl_mechanism: str = Field(default="SCRAM-SHA-512", description="With sasl: such as PLAIN or SCRAM-SHA-512.")
    username: str | None = Field(default=None, description="With sasl.")
    password: SecretStr | None = Field(default=None, description="With sasl.")
    ssl_ca: Path | None = Field(
        default=None, description="With ssl: a file of certificates to trust; absent: the system's."
    )
    settings: dict[str, SecretStr] = Field(
        default_factory=dict, description="More settings of librdkafka, such as ssl.key.location; masked where shown."
    )
    timeout_seconds: float = Field(
        default=20, gt=0, allow_inf_nan=False, description="How long brokers may take for a batch."
    )

    @field_validator("settings")
    @classmethod
    def _check_settings(cls, settings: dict[str, SecretStr]) -> dict[str, SecretStr]:
        if ours := sorted(_OURS & settings.keys()):
            raise ValueError(f"{ours[0]} follows from other options, or has to be as it is: leave it out")
        return settings

    @model_validator(mode="after")
    def _check_what_belongs_together(self) -> Self:
        if (self.username or self.password) and not self.security_protocol.startswith("sasl"):
            raise ValueError('username and password belong to security_protocol = "sasl_ssl" or "sasl_plaintext"')
        return self


class Kafka(Destination[KafkaOptions]):
    """A topic. Safe in threads; its client must not cross a fork: make it in the process that uses it."""

    Options = KafkaOptions
    deletion = "by_hand"
    deletion_steps = (
        "Single messages cannot be deleted: let the topic's retention.ms pass, or have a compacted "
        'topic with key = "user" get an empty message; tell who has read it.'
    )
    traits = KAFKA

    def __init__(
        self, name: str, options: KafkaOptions, *, rules: Rules | None = None, rate: Rate | None = None
    ) -> None:
        super().__init__(name, options, rules=rules, rate=rate)
        #: What errors call it.
        self.label: Final = f"{type(self).__name__} at {options.bootstrap_servers}"
        #: The most that a message may have.
        self.limits: Final = Limits(event_bytes=options.max_message_bytes)
        self._render = renderer(options.format, ids=True)
        self._producer = Producer(_config(options), topic=options.topic, label=self.label)

    @classmethod
    def missing_package(cls) -> str | None:
        return None if find_spec("confluent_kafka") else f"confluent-kafka is not installed: {install_command('kafka')}"

    def missing_settings(self) -> str | None:
        lacks = None
        if find_spec("confluent_kafka") is None:
            lacks = f"confluent-kafka is there: {install_command('kafka')}"
        elif self.options.security_protocol.startswith("sasl"):
            missing = [option for option in ("username", "password") if not getattr(self.options, option)]
            lacks = f"{self.variable(missing[0])} is set" if missing else None
        return None if lacks is None else f"the events of {self.name!r} wait until {lacks}"

    def item(self, event: Event) -> Message:
        """The message of an event. Pure."""
        return Message(event.id, event.name, self._key(event), self._render(encode(event)))

    def item_bytes(self, item: Message) -> int:
        """How many bytes a message takes."""
        return item.size

    def group(self, item: Message) -> Hashable:
        """All messages go the same way."""
        return None

    def deliver(self, batch: Batch) -> Sequence[Outcome]:
        """Send a batch, and wait for the report of each message. Blocks up to ``timeout_seconds``."""
        return self.deliver_all([batch])[0]

    def deliver_all(self, batches: Sequence[Batch]) -> list[Sequence[Outcome]]:
        """Send several batches at once: the client packs their messages together, and the wait is one."""
        if (missing := self.missing_settings()) is not None:
            return [[RetryAfter(missing, None, "setup")] * len(batch.payloads) for batch in batches]
        reader = EventReader(shares_contexts=False)
        payloads = [payload for batch in batches for payload in batch.payloads]
        made = [to_entry(self, reader, position, payload) for position, payload in enumerate(payloads)]
        messages = [entry.item for entry in made if isinstance(entry, Entry)]
        lease_until = min(batch.lease_until for batch in batches)
        sent = iter(self._send(messages, min(time.monotonic() + self.options.timeout_seconds, lease_until)))
        outcomes = iter([next(sent) if isinstance(entry, Entry) else entry for entry in made])
        return [[next(outcomes) for _ in batch.payloads] for batch in batches]

    def preview(self, event: Event) -> dict[str, Any]:
        """The message's contents, with its key, or why none would be sent. Sends nothing."""
        try:
            made = to_entry(self, EventReader(shares_contexts=False), 0, encode(event))
        except RecursionError:
            made = too_deep(f"event {event.id}")
        match made:
            case Dead():
                return {"outcome": "dead", "reason": made.reason, "error": made.error}
            case Filtered():
                return {"outcome": "filtered", "reason": made.reason}
            case RetryAfter():
                return {"missing": made.error}
            case _:
                key = made.item.key
                shown = {"line": made.item.value.decode(), "key": None if key is None else key.decode()}
                missing = self.missing_settings()
                return shown if missing is None else {**shown, "missing": missing}

    def close(self) -> None:
        """Let go of the client. May be called twice; ``deliver`` makes another one."""
        self._producer.close()

    def _send(self, messages: Sequence[Message], until: float) -> list[Outcome]:
        try:
            return self._producer.send(messages, until=until)
        except SetupError as error:
            return [RetryAfter(f"{self.label} cannot be sent to: {error}", None, "setup")] * len(messages)

    def _key(self, event: Event) -> bytes | None:
        match self.options.key:
            case "none":
                return None
            case "course":
                key = to_id(event.context.get("course_id")) or to_id(data_fields(event).get("course_id"))
            case "user":
                person = Person.of(event)
                key = person.user_id or person.anonymous_id
        return None if key is None else key.encode("utf-8", "replace")


def _config(options: KafkaOptions) -> dict[str, Any]:
    """What librdkafka is given, credentials in the clear."""
    seconds = options.timeout_seconds
    message_seconds = max(seconds - _LAST_SECONDS, seconds * _MESSAGE_FRACTION)
    config: dict[str, Any] = {
        "client.id": "event-dispatcher",
        "linger.ms": 5,
        "topic.metadata.propagation.max.ms": _NEW_TOPIC_MS,
        **{name: reveal(value) for name, value in options.settings.items()},
        "bootstrap.servers": options.bootstrap_servers,
        "enable.idempotence": True,
        "acks": "all",
        "compression.type": options.compression,
        "message.max.bytes": options.max_message_bytes,
        "message.timeout.ms": max(1, round(message_seconds * 1000)),
        "security.protocol": options.security_protocol,
    }
    if options.security_protocol.startswith("sasl"):
        config |= {
            "sasl.mechanism": options.sasl_mechanism,
            "sasl.username": options.username or "",
            "sasl.password": reveal(options.password),
        }
    if options.ssl_ca is not None:
        config["ssl.ca.location"] = str(options.ssl_ca)
    return config
