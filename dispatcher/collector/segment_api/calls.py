"""Calls: the paths that take calls, ``/v1/track`` and the like for one, ``/v1/batch`` and ``/v1/import`` for several.

https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dispatcher.collector.route import Accepted, Rejected, Request
from dispatcher.collector.segment_api.call import Shared, to_event
from dispatcher.collector.segment_api.write_key import write_key_of
from dispatcher.event import Event, is_id
from dispatcher.intake.json_body import count_brackets, decode_body
from dispatcher.intake.refused import Refused
from dispatcher.intake.timestamps import parse_time

if TYPE_CHECKING:
    from dispatcher.collector.sources import Source, Sources

#: The type of the calls that each path takes; None where the calls say it themselves. The short ones are those of
#: analytics.js, which sends batches to /v1/b, and did to /v1/batch before.
PATHS: Final = {
    **{f"/v1/{name}": name for name in ("identify", "track", "page", "screen", "group", "alias")},
    **{f"/v1/{name[0]}": name for name in ("identify", "track", "page", "screen", "group", "alias")},
    **dict.fromkeys(("/v1/b", "/v1/batch", "/v1/import")),
}


class CallsRoute:
    """Takes one call, or ``{"batch": [{"type": "track", "event": …, "messageId": …}]}``, whatever its Content-Type.

    Args:
        call_type: The type of the one call; None for a batch.
    """

    methods: Final = frozenset({"POST"})

    def __init__(self, call_type: str | None = None) -> None:
        self._call_type = call_type
        #: Whether it takes several calls.
        self.is_batch: Final = call_type is None

    def __call__(self, request: Request, sources: Sources) -> Accepted | Refused:
        """The calls as direct events; see ``Route``."""
        body = decode_body(request.body)
        if isinstance(body, Refused):
            return body
        if not isinstance(body, dict):
            return Refused(400, "not_an_object", "the body must be an object: a call, or a batch of them")
        is_batch = self.is_batch
        items = body.get("batch") if is_batch else [body]
        if not isinstance(items, list):
            return Refused(400, "no_batch", 'the body must be an object with a list "batch"')
        source = sources.admit(write_key_of(request, body), request)
        if isinstance(source, Refused):
            return source
        if len(items) > source.settings.batch_events:
            most = source.settings.batch_events
            return Refused(413, "too_many", f"a request has at most {most} calls: send the rest in another one")
        sent_at = body.get("sentAt")
        shared = Shared(
            source,
            _browser_context(request, source),
            parse_time(sent_at) or sent_at,
            request.received_at,
            _object(body, "context") if is_batch else {},
            _object(body, "integrations") if is_batch else {},
        )
        accepted = Accepted(source, depth=count_brackets(request.body))
        events: list[Event] = []
        indexes: list[int] = []
        for index, item in enumerate(items):
            made = to_event(item, self._call_type, shared)
            if isinstance(made, Event):
                events.append(made)
                indexes.append(index)
                continue
            item_id = item.get("messageId") if isinstance(item, dict) else None
            accepted.rejected.append(Rejected(index, str(item_id) if is_id(item_id) else "", *made))
        accepted.events, accepted.indexes = events, indexes
        return accepted


def _browser_context(request: Request, source: Source) -> dict[str, Any]:
    values = {"ip": source.shown_address(request.address), "agent": request.headers.get("user-agent")}
    return {name: value for name, value in values.items() if value}


def _object(body: dict[str, Any], field: str) -> dict[str, Any]:
    value = body.get(field)
    return value if isinstance(value, dict) else {}
