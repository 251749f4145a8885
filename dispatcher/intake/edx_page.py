"""edX page: what Logger.log and the micro-frontends of Open edX send, one event a request. Pure.

The line in the tracking log is the one that the platform itself wrote
(https://docs.openedx.org/en/latest/developers/references/internal_data_formats/tracking_logs/browser_event_types.html).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from dispatcher.event import Event
from dispatcher.intake.refused import Refused
from dispatcher.request.course import course_fields

#: What the platform answers, whatever it was sent.
ANSWER: Final = b"success"
_MAX_FIELDS: Final = 100
_decode: Final = msgspec.json.Decoder().decode


def read_fields(body: bytes) -> dict[str, Any] | Refused:
    """The fields of a POST, which are a form or a JSON object; the refusal of one that has too many."""
    if body[:1] == b"{":
        try:
            fields = _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            fields = None
        if isinstance(fields, dict):
            return fields
    try:
        return dict(parse_qsl(body.decode("latin-1"), keep_blank_values=True, max_num_fields=_MAX_FIELDS))
    except ValueError:
        return Refused(400, "bad_form", f"the request has more than {_MAX_FIELDS} fields: send at most that many")


def make_event(fields: Mapping[str, Any], context: Mapping[str, Any], path: str, received_at: datetime) -> Event:
    """The event of a request.

    Args:
        fields: ``event_type``, ``event`` (JSON of any type, or any text), ``page`` and ``courserun_key``, as far as
            they were sent. Without ``event_type`` the event is called "unknown", as in the platform.
        context: What the request says of who sent it.
        path: Of the request.
        received_at: In UTC.
    """
    page, name = fields.get("page"), fields.get("event_type")
    return Event(
        id="",
        name=name if isinstance(name, str) and name else "unknown",
        timestamp=received_at,
        data=_data(fields.get("event")),
        context={
            **context,
            "path": path,
            **course_fields(page, fields.get("courserun_key")),
            "event_source": "browser",
            "page": page if isinstance(page, str) else None,
        },
    )


def _data(event: Any) -> Any:
    """What the event says. Text that is not JSON stays text, as in the platform."""
    if event is None or event == "":
        return {}
    if not isinstance(event, str):
        return event
    try:
        return _decode(event)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return event
