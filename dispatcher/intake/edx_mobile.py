"""edX mobile: what Segment's webhook sends of edX's mobile apps, one track call a request. Pure.

The names and fields are those of the platform's ``TRACKING_SEGMENTIO_*`` settings and of its tracking log
(https://docs.openedx.org/en/latest/developers/references/internal_data_formats/tracking_logs/).
"""

from __future__ import annotations

import hmac
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from dispatcher.event import Event, is_id
from dispatcher.intake.timestamps import parse_time
from dispatcher.request.course import course_fields

# A screen that the apps name by its label only.
_LABELS: Final = {"Forum: View Thread": "edx.bi.app.navigation.screen"}
# Fields of Segment's context that do not go into the tracking log's.
_LEFT_OUT: Final = frozenset({"traits", "integrations", "userAgent"})
# What an app may not say: an app can be anybody's.
_NOT_THEIRS: Final = frozenset({"username", "session", "event_source", "event_type"})
# An event to Segment with the id of the app's own call would be dropped there as its repeat.
_ID_PREFIX: Final = "mobile-"


@dataclass(frozen=True, slots=True)
class Allowed:
    """Which calls are taken.

    Args:
        types: Such as ``track``, in any case.
        libraries: Names of Segment's libraries.
        disallowed_names: Texts that no name has, in any case.
    """

    types: Collection[str]
    libraries: Collection[str]
    disallowed_names: Collection[str]


def is_key(given: str, secret: bytes) -> bool:
    """Whether the query's key is the secret. Takes as long for any key of its length."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), secret)


def read_call(call: Any, allowed: Allowed, *, host: str, path: str) -> Event | tuple[str, str]:
    """The event of a call; or why the platform drops it: the code of a reason, and words.

    Args:
        call: Decoded JSON.
        allowed: Which calls are taken.
        host: Of the request.
        path: Of the request.
    """
    call = _object(call)
    segment, properties = _object(call.get("context")), _object(call.get("properties"))
    library = _object(segment.get("library")).get("name")
    name = properties.get("name") or _LABELS.get(str(properties.get("label")))
    data, told = properties.get("data"), properties.get("context", {})
    timestamp, received_at = parse_time(call.get("timestamp")), parse_time(call.get("receivedAt"))
    user_id = _number(call.get("userId"))
    if str(call.get("type", "")).lower() not in {one.lower() for one in allowed.types}:
        problem = "type_not_listed", "the type is not in collector.mobile_types"
    elif library not in allowed.libraries:
        problem = "library_not_listed", "the library is not in collector.mobile_libraries"
    elif not isinstance(name, str) or not name:
        problem = "no_name", "the properties have no name"
    elif any(part.lower() in name.lower() for part in allowed.disallowed_names):
        problem = "name_not_listed", "a text of collector.mobile_disallowed_names is in the name"
    elif not isinstance(data, dict) or not isinstance(told, dict):
        problem = "no_data", "data and context of the properties must be objects"
    elif timestamp is None or received_at is None:
        problem = "bad_timestamp", "timestamp and receivedAt must be times"
    elif user_id is None:
        problem = "bad_user", "userId must be the number of a user"
    else:
        return _make_event(call, name, timestamp, user_id, {"path": path, "host": host})
    return problem


def _make_event(call: dict[str, Any], name: str, timestamp: datetime, user_id: int, request: dict[str, str]) -> Event:
    """The event of a call that was checked."""
    segment, properties = call["context"], call["properties"]
    told = {key: value for key, value in properties.get("context", {}).items() if key not in _NOT_THEIRS}
    application = {"name": told.pop("app_name", ""), "version": _object(segment.get("app")).get("version", "")}
    context: dict[str, Any] = {
        **request,
        "event_source": "mobile",
        "agent": segment.get("userAgent", ""),
        "client": {key: value for key, value in segment.items() if key not in _LEFT_OUT},
        "application": application,
        **told,
        # Events for business intelligence have these beside their context, not in it.
        **{key: properties[key] for key in ("label", "course_id") if key in properties},
        "user_id": user_id,
        "ip": told.get("ip", ""),
        # The log's time is the device's.
        "timestamp": call["timestamp"],
        "received_at": call["receivedAt"],
    }
    context |= course_fields(None, context.get("course_id"))
    brought = f"{_ID_PREFIX}{call.get('messageId', '')}"
    event_id = brought if brought != _ID_PREFIX and is_id(brought) else ""
    return Event(id=event_id, name=name, timestamp=timestamp, data=properties["data"], context=context)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return None
