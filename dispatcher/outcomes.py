"""Outcomes: what can become of an event at a destination, and every reason that dispatcher itself gives for it.

Each event has an outcome of its own, not each batch. The tables of docs/reference/errors.md are made from the reasons.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

#: Why an event is to be tried again. transient: the destination did not answer, or could not take it for the moment;
#: that burns an attempt, and several in a row open the breaker. throttled: the destination asked to be left alone.
#: setup: it takes nothing until somebody mends the settings or the account. These two open the breaker at once.
#: rate_limited: the event was not sent, because the rate had no permit left for it; that says nothing about the
#: destination.
RetryClass = Literal["transient", "throttled", "setup", "rate_limited"]


@dataclass(frozen=True, slots=True)
class Delivered:
    """The destination has the event."""


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """The event is to be tried again.

    Args:
        error: What went wrong, as a sentence for a person.
        seconds: How long the destination asked to wait; None leaves that to the backoff.
        retry_class: Why, for the breaker and the count of attempts.
        answer: What the destination answered, in its own words; kept with the event should it become a dead letter.
    """

    error: str
    seconds: float | None = None
    retry_class: RetryClass = "transient"
    answer: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Dead:
    """The destination will never take the event.

    Args:
        reason: One word for the ledger.
        error: What is wrong and how to mend it, as a sentence for a person.
        whole: Whether this holds for the whole request whatever it contains, so that sending its parts would not help.
        asked: Whether the destination was asked. An event that was refused before it was sent says nothing about the
            destination, and leaves its breaker as it is.
        retry_class: What the breaker makes of it where the destination was asked and gave no final answer; None where
            it refused the event.
        answer: What the destination answered, in its own words; kept with the event and shown by `dead show` alone.
        taken: How many events of the request, from its first on, the destination says that it took before it came to
            one that it refuses. They are delivered, and must not be sent again with the rest.
    """

    reason: str
    error: str
    whole: bool = False
    asked: bool = field(default=True, compare=False)
    retry_class: RetryClass | None = field(default=None, compare=False)
    answer: str = field(default="", compare=False)
    taken: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Filtered:
    """The event was left out on purpose. ``reason`` is one word for the ledger."""

    reason: str


@dataclass(frozen=True, slots=True)
class Posted:
    """The event waits for its visitor's page, which takes it to the destination and says so.

    Args:
        mailbox: The name of the visitor's mailbox.
        id: The event's.
        calls: What the page is to do, as JSON.
    """

    mailbox: str
    id: str
    calls: bytes


Outcome = Delivered | RetryAfter | Dead | Filtered | Posted

DELIVERED: Final = Delivered()

# Emit could not take the event.
INVALID: Final = "invalid"
NOT_ENCODABLE: Final = "not_encodable"
TOO_LARGE: Final = "too_large"
PROCESSOR_FAILED: Final = "processor_failed"
UNDECODABLE: Final = "undecodable"
UNKNOWN: Final = "unknown"
# The destination cannot take the event.
OVERSIZED: Final = "oversized"
MAPPING: Final = "mapping"
TRANSFORM: Final = "transform"
MISSING_USER: Final = "missing_user"
MISSING_USER_DATA: Final = "missing_user_data"
MISSING_VISITOR_ID: Final = "missing_visitor_id"
MISSING_CLIENT_ID: Final = "missing_client_id"
MISSING_APP_INSTANCE_ID: Final = "missing_app_instance_id"
RESERVED: Final = "reserved"
RESERVED_NAME: Final = "reserved_name"
UNKNOWN_EVENT: Final = "unknown_event"
TOO_OLD: Final = "too_old"
FROM_THE_FUTURE: Final = "from_the_future"
# Its delivery was given up.
EXPIRED: Final = "expired"
UNANSWERED: Final = "unanswered"
UNREPEATABLE: Final = "unrepeatable"
MAYBE_DELIVERED: Final = "maybe_delivered"
WORKER_LOST: Final = "worker_lost"
# It waited for its visitor's page. The store's script gives these itself.
NOT_COLLECTED: Final = "not_collected"
NOT_PRESENT: Final = "not_present"
CALL_FAILED: Final = "call_failed"
MAILBOX_FULL: Final = "mailbox_full"
# Something happened to it in the batch store. The store's script gives the last three itself.
DAMAGED: Final = "damaged"
VANISHED: Final = "vanished"
FILED: Final = "filed"
UNKEPT: Final = "unkept"
# It was left out on purpose.
NOT_ON_ALLOWLIST: Final = "not_on_allowlist"
EXCLUDED: Final = "excluded"
INTERNAL: Final = "internal"
DIRECT: Final = "direct"
CONSENT: Final = "consent"
INTEGRATIONS: Final = "integrations"
SUPPRESSED: Final = "suppressed"
UNIDENTIFIED: Final = "unidentified"
NO_VISITOR: Final = "no_visitor"
NO_EVENT_CALL: Final = "no_event_call"
NO_TRANSFORMER: Final = "no_transformer"
DROPPED: Final = "dropped"
TRANSFERRED: Final = "transferred"
PROCESSOR: Final = "processor"
FORGOTTEN: Final = "forgotten"
DUPLICATE: Final = "duplicate"
# Routing explains with these why an event does not go to a destination, without counting it there.
DISABLED: Final = "disabled"
DEAD_EVENT: Final = "dead"

#: Why emit did not take an event, which is a dead letter of no destination: what each reason means, for a person.
NOT_TAKEN_REASONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        INVALID: "Emit does not take such a name, such an id or such data.",
        NOT_ENCODABLE: "A value in the data or in the context has no JSON form.",
        TOO_LARGE: "The event is larger than `outbox.max_event_bytes`.",
        PROCESSOR_FAILED: "A processor raised something other than `DropEvent`.",
        UNDECODABLE: "The journal holds something else than an event here.",
        UNKNOWN: "The journal does not say why.",
    }
)

#: Why an event is a dead letter of a destination: what each reason means, for a person.
DEAD_REASONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        INVALID: "The destination refuses the event for its contents; the error says what to correct.",
        OVERSIZED: "The event is larger than the destination takes: Segment takes 32 KB, for example.",
        UNDECODABLE: "The batch holds something else than an event here.",
        MAPPING: "A rule of the destination's mapping cannot be applied to the event.",
        TRANSFORM: "The destination's code made a mistake with the event; the error names it.",
        MISSING_USER: "The event does not say whom it is about, and the destination has to know.",
        MISSING_USER_DATA: "The event does not say well enough whom it is about for Meta.",
        MISSING_VISITOR_ID: "The event has no id that Optimizely could know its visitor by.",
        MISSING_CLIENT_ID: "The event has no client id for Google Analytics, and nobody to make one from.",
        MISSING_APP_INSTANCE_ID: "The event has no app instance id, which Firebase needs.",
        RESERVED: "The data has a field that means something else in Google Tag Manager's data layer.",
        RESERVED_NAME: "The event has the name of one of Sailthru's own events.",
        UNKNOWN_EVENT: "The event's name has no id in the `event_ids` of its Optimizely destination.",
        TOO_OLD: "The event is older than the destination takes.",
        FROM_THE_FUTURE: "The event's time is yet to come, and the destination refuses that.",
        EXPIRED: "It was tried until it was older than `retry.max_age_seconds`.",
        UNANSWERED: "It was sent once without an answer, with `at_most_once`.",
        UNREPEATABLE: "The destination may have taken it, or rejected some of its request and does not say which; its "
        "protocol forbids to send that again.",
        MAYBE_DELIVERED: "It may have been sent: a worker ended, or Redis lost what became of it, with `at_most_once`.",
        WORKER_LOST: "Workers were killed or hung while they delivered it, several leases in a row and at last with it "
        "alone.",
        NOT_COLLECTED: "Its visitor opened no page that asks for events within `handover_hours`.",
        NOT_PRESENT: "The vendor's function was on none of the visitor's pages that tried it within `handover_hours`.",
        CALL_FAILED: "The vendor's function raised an error on each page that tried it within `handover_hours`.",
        MAILBOX_FULL: "Its visitor had 100 events or 256 KiB waiting for a page, and the oldest made room.",
        DAMAGED: "Its batch could not be read in Redis; the first dead letter of the batch has the bytes.",
        VANISHED: "Its batch was gone from Redis, by an eviction policy or somebody's hand; one dead letter stands for "
        "all.",
        FILED: "It was dead for any of these reasons, and is in a file of dead letters now.",
        UNKEPT: "It was dead while the dead letters had three times `dead.max_bytes` already, so it was only counted.",
    }
)

#: Why an event was filtered: what each reason means, for a person.
FILTERED_REASONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        NOT_ON_ALLOWLIST: "No entry of the destination's allowlist matches the event's name.",
        EXCLUDED: "An exception of the allowlist, an entry after `!`, matches the event's name.",
        INTERNAL: "The event's name is internal, and the destination takes no internal events.",
        DIRECT: "It is a direct call to Segment, which goes nowhere else.",
        CONSENT: "The person has not consented to all of the destination's consent categories.",
        INTEGRATIONS: "The event's `integrations` object leaves the destination out.",
        MAPPING: "A rule of the destination's mapping skips the event.",
        TOO_OLD: "The event is older than the destination takes, as after an outage or in a replay.",
        SUPPRESSED: "Sailthru does not mail this person, who has opted out or whose mail bounces.",
        UNIDENTIFIED: 'It is about nobody that is known, and the destination is an LRS or has `unidentified = "skip"`.',
        NO_VISITOR: "It says of no visitor, session or user to whose page it could go.",
        NO_EVENT_CALL: "Crazy Egg has no call for events on a page.",
        NO_TRANSFORMER: "No transformer of event-routing-backends takes it, or its Django settings leave it out.",
        DROPPED: "It was a dead letter, and somebody dropped it.",
        TRANSFERRED: "It waited, and somebody moved it to another destination, which has it in its own ledger.",
        DUPLICATE: "An event with this id came through the same source of the collector before, and goes on once.",
        FORGOTTEN: "It names somebody who was forgotten with `dispatcher forget`, so that it goes nowhere any more.",
        PROCESSOR: "A processor dropped the event without a reason of its own; emit did not take it.",
    }
)

#: Why an event does not go to a destination where routing alone knows: what each reason means, for a person.
ROUTING_REASONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        DISABLED: "The destination is switched off.",
        DEAD_EVENT: "Emit could not take the event, so it is kept for a person to look at.",
    }
)
