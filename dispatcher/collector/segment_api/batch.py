"""Batch: ``/v1/batch``, the calls of a client in one request."""

from __future__ import annotations

from typing import Any, Final, cast

from dispatcher.collector.json_body import decode_body
from dispatcher.collector.route import Accepted, Refused, Rejected, Request
from dispatcher.collector.sources import Sources
from dispatcher.event import DIRECT_TYPES, Event, EventType

_NAMED: Final = {"track": "event"}


class BatchRoute:
    """Takes ``{"writeKey": …, "batch": [{"type": "track", "event": …, "messageId": …}]}``."""

    methods: Final = frozenset({"POST"})

    def __call__(self, request: Request, sources: Sources) -> Accepted | Refused:
        """The calls of the batch as direct events; see ``Route``."""
        body = decode_body(request.body)
        if isinstance(body, Refused):
            return body
        if not isinstance(body, dict) or not isinstance(body.get("batch"), list):
            return Refused(400, "no_batch", 'the body must be an object with a list "batch"')
        source = sources.admit(body.get("writeKey"), request)
        if isinstance(source, Refused):
            return source
        accepted = Accepted(source)
        events: list[Event] = []
        indexes: list[int] = []
        context = request.context(source)
        for index, item in enumerate(cast("list[Any]", body["batch"])):
            if not isinstance(item, dict) or str(item.get("type")) not in DIRECT_TYPES:
                accepted.rejected.append(Rejected(index, "", "bad_type", "the item is no call with a known type"))
                continue
            kind = cast("EventType", item["type"])
            name = item.get(_NAMED.get(kind, ""), kind)
            identity = item.get("messageId") or ""
            if not isinstance(name, str) or not isinstance(identity, str):
                accepted.rejected.append(Rejected(index, "", "bad_name", "event and messageId must be text"))
                continue
            data = {key: value for key, value in item.items() if key not in ("type", "messageId", "timestamp")}
            events.append(
                Event(id=identity, type=kind, name=name, timestamp=request.received_at, data=data, context=context)
            )
            indexes.append(index)
        accepted.events, accepted.indexes = events, indexes
        return accepted
