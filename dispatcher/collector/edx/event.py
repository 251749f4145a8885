"""Event: ``/event``, to which Logger.log and the micro-frontends of Open edX send, one event a request."""

from __future__ import annotations

from typing import Final

from dispatcher.collector.route import Accepted, Request
from dispatcher.collector.sources import Sources
from dispatcher.intake.edx_page import ANSWER, make_event, read_fields
from dispatcher.intake.refused import Refused


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
        fields = request.fields() if request.method == "GET" else read_fields(request.body)
        if isinstance(fields, Refused):
            return fields
        event = make_event(fields, request.context(source), request.path, request.received_at)
        return Accepted(source, [event], body=ANSWER, headers={"content-type": "text/plain; charset=utf-8"})
