"""Call: one call of Segment's API as an event. Pure.

The fields are those of https://segment.com/docs/connections/spec/common/. What a client sent of them reaches Segment as
it was, but for its time, which is corrected by the clock here, and its address, which obeys the policy of the source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, cast

from dispatcher.event import DIRECT_TYPES, MAX_ID_CHARACTERS, Event, EventType, is_id
from dispatcher.intake.timestamps import corrected_time

if TYPE_CHECKING:
    from dispatcher.collector.sources import Source

# Fields of the envelope: they are the event's own, were meant for the collector, or are made anew for Segment.
_ENVELOPE: Final = frozenset(
    {"type", "messageId", "timestamp", "originalTimestamp", "sentAt", "receivedAt", "writeKey", "writeTime", "batch"}
)
# The tracking context of a call that a server makes for others.
_NOBODY: Final[dict[str, Any]] = {}


@dataclass(slots=True)
class Shared:
    """What the calls of one request have in common.

    Args:
        source: Whose they are.
        browser: The tracking context of who sent the request, by the policy of the source.
        sent_at: ``sentAt`` of the body, or None.
        received_at: When it came, in UTC.
        context: ``context`` of the batch, which each call has where its own says nothing.
        integrations: The same of ``integrations``.
    """

    source: Source
    browser: dict[str, Any]
    sent_at: object
    received_at: datetime
    context: Mapping[str, Any]
    integrations: Mapping[str, Any]


def to_event(item: object, call_type: str | None, shared: Shared) -> Event | tuple[str, str]:
    """The event of a call, or why it makes none.

    Args:
        item: As the client sent it.
        call_type: The type that the path says; None where the call says it itself.
        shared: Of the request.

    Returns:
        The event, without an id where the call has none; or a code and a sentence, without any value of the call.
    """
    if not isinstance(item, dict):
        return "not_an_object", "a call must be an object"
    kind = call_type or item.get("type")
    if not isinstance(kind, str) or kind not in DIRECT_TYPES:
        return "bad_type", f"the type of a call must be one of {', '.join(sorted(DIRECT_TYPES))}"
    event_id = item.get("messageId")
    if event_id is None or event_id == "":
        event_id = ""
    elif not is_id(event_id):
        return "bad_id", f"a messageId must have 1 to {MAX_ID_CHARACTERS} printable characters"
    name = item.get("event") if kind == "track" else kind
    if not isinstance(name, str) or not name:
        return "no_event", 'a track call needs the name of what happened, in "event"'
    data = {key: value for key, value in item.items() if key not in _ENVELOPE and value is not None}
    for key, of_batch in (("context", shared.context), ("integrations", shared.integrations)):
        own = data.get(key)
        if of_batch and (own is None or isinstance(own, dict)):
            data[key] = {**of_batch, **(own or {})}
    told = data.get("context")
    is_direct = shared.source.settings.kind == "browser"
    if isinstance(told, dict):
        # A server that passes on what its users do says so, or says their addresses itself.
        is_direct = is_direct or told.get("direct") is True
        if isinstance(told.get("ip"), str) and shared.source.settings.ip != "keep":
            shown = shared.source.shown_address(told["ip"])
            data["context"] = {key: value for key, value in told.items() if key != "ip"} | (
                {"ip": shown} if shown else {}
            )
    happened_at = item.get("originalTimestamp") or item.get("timestamp")
    sent_at = shared.sent_at if shared.sent_at is not None else item.get("sentAt")
    timestamp = corrected_time(happened_at, sent_at, shared.received_at)
    # One object for all calls of a request, which then encode it once.
    context = shared.browser if is_direct else _NOBODY
    return Event(id=event_id, type=cast("EventType", kind), name=name, timestamp=timestamp, data=data, context=context)
