"""Event: ``/event``, to which Logger.log and the micro-frontends of Open edX send, one event a request.

The line in the tracking log is the one that the platform itself wrote
(https://docs.openedx.org/en/latest/developers/references/internal_data_formats/tracking_logs/browser_event_types.html).
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from dispatcher.collector.route import Accepted, Refused, Request
from dispatcher.collector.sources import Sources
from dispatcher.event import Event
from dispatcher.request.course import course_fields

_MAX_FIELDS: Final = 100
_decode: Final = msgspec.json.Decoder().decode


class EventRoute:
    """Takes ``event_type``, ``event`` (JSON of any type, or any text), ``page`` and ``courserun_key``.

    They come as a form or as a JSON object in the body of a POST, or in the query of a GET, as page_close did. The
    source is the one that lists the origin of the page, since these requests have no key. A request without
    ``event_type`` becomes an event called "unknown", as in the platform.
    """

    methods: Final = frozenset({"GET", "POST"})

    def __call__(self, request: Request, sources: Sources) -> Accepted | Refused:
        """One event of the type ``event``; see ``Route``."""
        source = sources.of_origin(request)
        if isinstance(source, Refused):
            return source
        fields = _fields(request)
        if fields is None:
            return Refused(400, "bad_form", f"the request has more than {_MAX_FIELDS} fields: send at most that many")
        page = fields.get("page")
        name = fields.get("event_type")
        context = request.context(source)
        context |= {"path": request.path, **course_fields(page, fields.get("courserun_key"))}
        context |= {"event_source": "browser", "page": page if isinstance(page, str) else None}
        event = Event(
            id="",
            name=name if isinstance(name, str) and name else "unknown",
            timestamp=request.received_at,
            data=_data(fields.get("event")),
            context=context,
        )
        return Accepted(source, [event], body=b"success", headers={"content-type": "text/plain; charset=utf-8"})


def _fields(request: Request) -> dict[str, Any] | None:
    """The fields of the query or of the body; None where there are too many."""
    if request.method == "GET":
        return dict(request.fields())
    if request.body[:1] == b"{":
        try:
            body = _decode(request.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            body = None
        if isinstance(body, dict):
            return body
    try:
        pairs = parse_qsl(request.body.decode("latin-1"), keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError:
        return None
    return dict(pairs)


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
