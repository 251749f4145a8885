"""Reports: what librdkafka says of a message that was not taken, as the outcome of its event. Pure.

Names are those of Kafka's protocol, https://kafka.apache.org/protocol#protocol_error_codes, and librdkafka's own, which
begin with an underscore.
"""

from __future__ import annotations

from typing import Any, Final

from dispatcher.outcomes import INVALID, OVERSIZED, Dead, RetryAfter

# The broker, or the client before it, takes no such message.
_OVERSIZED: Final = frozenset({"MSG_SIZE_TOO_LARGE", "RECORD_LIST_TOO_LARGE"})
_INVALID: Final = frozenset({"INVALID_MSG", "INVALID_RECORD", "INVALID_TIMESTAMP", "POLICY_VIOLATION"})
_THROTTLED: Final = frozenset({"THROTTLING_QUOTA_EXCEEDED"})
_SETUP: Final = {
    "_UNKNOWN_TOPIC": "create the topic",
    "UNKNOWN_TOPIC_OR_PART": "create the topic",
    "TOPIC_EXCEPTION": "give the topic a name that Kafka takes",
    "TOPIC_AUTHORIZATION_FAILED": "let this user write to the topic",
    "CLUSTER_AUTHORIZATION_FAILED": "let this user write idempotently",
    "TRANSACTIONAL_ID_AUTHORIZATION_FAILED": "let this user write idempotently",
    "_AUTHENTICATION": "correct its user and password",
    "SASL_AUTHENTICATION_FAILED": "correct its user and password",
    "UNSUPPORTED_SASL_MECHANISM": "set its sasl_mechanism to one that the brokers take",
    "ILLEGAL_SASL_STATE": "correct its security_protocol",
    "_SSL": "correct its security_protocol, or its certificates",
    "_RESOLVE": "correct its bootstrap_servers: DNS does not know them, or does not answer",
    "UNSUPPORTED_VERSION": "use brokers of version 0.11 or later, which take idempotent producers",
}
_WORDS: Final = {
    "_MSG_TIMED_OUT": "no broker took it in time",
    "_TRANSPORT": "the connection broke",
    "_ALL_BROKERS_DOWN": "no broker can be reached",
}


def outcome_of(error: Any, *, label: str, trouble: str = "") -> RetryAfter | Dead:
    """The outcome of an event whose message was not taken.

    Args:
        error: A ``KafkaError``. Only its name is repeated.
        label: What the error calls the destination.
        trouble: The name of what the client had met before on its way to the brokers.
    """
    name = str(error.name())
    if name == "_MSG_TIMED_OUT" and trouble in _SETUP:
        name = trouble
    text = f"{label} says {name}"
    if name in _OVERSIZED:
        return Dead(OVERSIZED, f"{text}: put less into the event, or raise max.message.bytes of the topic")
    if name in _INVALID:
        return Dead(INVALID, text)
    if name in _THROTTLED:
        return RetryAfter(text, None, "throttled")
    if name in _SETUP:
        return RetryAfter(f"{text}: {_SETUP[name]}", None, "setup")
    return RetryAfter(f"{text}: {_WORDS.get(name, 'tried again')}{f' ({trouble})' if trouble else ''}")


def is_setup(error: Any) -> bool:
    """Whether somebody has to mend what the client met."""
    return error.name() in _SETUP
