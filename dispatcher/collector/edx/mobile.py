"""Mobile: ``/segmentio/event``, to which Segment sends what edX's mobile apps tracked, one call a request.

The names and fields are those of the platform's ``TRACKING_SEGMENTIO_*`` settings and of its tracking log
(https://docs.openedx.org/en/latest/developers/references/internal_data_formats/tracking_logs/).
"""

from __future__ import annotations

import hmac
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from dispatcher.collector.json_body import decode_body
from dispatcher.collector.route import Accepted, Refused, Rejected, Request
from dispatcher.collector.sources import Source
from dispatcher.collector.timestamps import parse_time
from dispatcher.config.collector import SourceSettings
from dispatcher.event import Event, is_id
from dispatcher.request.course import course_fields

if TYPE_CHECKING:
    from dispatcher.collector.sources import Sources
    from dispatcher.config.collector import CollectorSettings

#: Under which name its events are counted, and which they have as ``collector_source``.
SOURCE: Final = "segmentio"
# A screen that the apps name by its label only.
_LABELS: Final = {"Forum: View Thread": "edx.bi.app.navigation.screen"}
# Fields of Segment's context that do not go into the tracking log's.
_LEFT_OUT: Final = frozenset({"traits", "integrations", "userAgent"})
# What an app may not say: an app can be anybody's.
_NOT_THEIRS: Final = frozenset({"username", "session", "event_source", "event_type"})
# An event to Segment with the id of the app's own call would be dropped there as its repeat.
_ID_PREFIX: Final = "mobile-"


class MobileRoute:
    """Takes a track call as Segment's webhook sends it. What the platform would drop is dropped, and answered 200.

    Args:
        settings: Those that begin with ``mobile_``.
    """

    methods: Final = frozenset({"POST"})

    def __init__(self, settings: CollectorSettings) -> None:
        self._settings = settings
        secret = settings.mobile_secret
        self._secret = b"" if secret is None else secret.get_secret_value().encode()
        self._source = Source(SOURCE, SourceSettings(write_key=("unused",), kind="server"))

    def __call__(self, request: Request, sources: Sources) -> Accepted | Refused:
        """One event of the type ``event``; see ``Route``."""
        key = request.fields().get("key", "").encode("utf-8", "replace")
        if not self._secret:
            return Refused(404, "unknown_path", "the path is unknown")
        if not hmac.compare_digest(key, self._secret):
            return Refused(401, "unknown_key", "the key of the query is not collector.mobile_secret")
        call = decode_body(request.body)
        if isinstance(call, Refused):
            return call
        accepted = Accepted(self._source, body=b"", headers={"content-type": "text/plain; charset=utf-8"})
        made = self._to_event(call, request)
        if isinstance(made, Event):
            accepted.events = [made]
        else:
            # Whoever sends is not told why, as by the platform.
            accepted.rejected.append(Rejected(0, "", *made))
        return accepted

    def _to_event(self, call: Any, request: Request) -> Event | tuple[str, str]:
        call = _object(call)
        segment, properties = _object(call.get("context")), _object(call.get("properties"))
        library = _object(segment.get("library")).get("name")
        name = properties.get("name") or _LABELS.get(str(properties.get("label")))
        data, told = properties.get("data"), properties.get("context", {})
        timestamp, received_at = parse_time(call.get("timestamp")), parse_time(call.get("receivedAt"))
        settings, user_id = self._settings, _number(call.get("userId"))
        if str(call.get("type", "")).lower() not in settings.mobile_types:
            problem = "type_not_listed", "the type is not in collector.mobile_types"
        elif library not in settings.mobile_libraries:
            problem = "library_not_listed", "the library is not in collector.mobile_libraries"
        elif not isinstance(name, str) or not name:
            problem = "no_name", "the properties have no name"
        elif any(part in name for part in settings.mobile_disallowed_names):
            problem = "name_not_listed", "a text of collector.mobile_disallowed_names is in the name"
        elif not isinstance(data, dict) or not isinstance(told, dict):
            problem = "no_data", "data and context of the properties must be objects"
        elif timestamp is None or received_at is None:
            problem = "bad_timestamp", "timestamp and receivedAt must be times"
        elif user_id is None:
            problem = "bad_user", "userId must be the number of a user"
        else:
            return _make_event(call, request, name, timestamp, user_id)
        return problem


def _make_event(call: dict[str, Any], request: Request, name: str, timestamp: datetime, user_id: int) -> Event:
    """The event of a call that was checked."""
    segment, properties = call["context"], call["properties"]
    told = {key: value for key, value in properties.get("context", {}).items() if key not in _NOT_THEIRS}
    application = {"name": told.pop("app_name", ""), "version": _object(segment.get("app")).get("version", "")}
    context: dict[str, Any] = {
        "path": request.path,
        "host": request.headers.get("host", ""),
        "event_source": "mobile",
        "agent": segment.get("userAgent", ""),
        "client": {key: value for key, value in segment.items() if key not in _LEFT_OUT},
        "application": application,
        **({"label": properties["label"]} if "label" in properties else {}),
        **told,
        "user_id": user_id,
        "ip": told.get("ip", ""),
        # The log's time is the device's.
        "timestamp": call["timestamp"],
        "received_at": call["receivedAt"],
    }
    context |= course_fields(None, told.get("course_id"))
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
