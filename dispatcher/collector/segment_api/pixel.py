"""Pixel: calls in the address of an image, for mails and pages without scripts; and the metrics of analytics.js."""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from dispatcher.collector.route import Accepted, Request
from dispatcher.collector.segment_api.calls import CallsRoute
from dispatcher.event import DIRECT_TYPES
from dispatcher.intake.refused import Refused

if TYPE_CHECKING:
    from dispatcher.collector.sources import Sources

#: What stands before the type of the call in the path.
PREFIX: Final = "/v1/pixel/"
_GIF: Final = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
_HEADERS: Final = {"content-type": "image/gif", "cache-control": "no-store"}


class PixelRoute:
    """Takes ``/v1/pixel/track?data=…``, a call as JSON in base64, and answers with an image of one pixel.

    https://segment.com/docs/connections/sources/catalog/libraries/server/pixel-tracking-api/
    """

    methods: Final = frozenset({"GET", "HEAD"})

    def __init__(self) -> None:
        self._routes = {kind: CallsRoute(kind) for kind in DIRECT_TYPES}

    def __call__(self, request: Request, sources: Sources) -> Accepted | Refused:
        """The call of the query; see ``Route``. A HEAD only asks for the headers of an image, and sends nothing."""
        route = self._routes.get(request.path.removeprefix(PREFIX).removesuffix(".gif"))
        if route is None:
            return Refused(404, "unknown_path", "the path is unknown")
        if request.method == "HEAD":
            return Accepted(None, body=_GIF, headers=_HEADERS)
        # Of base64 for URLs or not, with its padding or without; a plus that was not escaped arrives as a blank.
        data = request.fields().get("data", "").strip().replace(" ", "+").replace("-", "+").replace("_", "/")
        try:
            body = base64.b64decode(data.rstrip("=") + "=" * (-len(data.rstrip("=")) % 4), validate=True)
        except (binascii.Error, ValueError):
            return Refused(400, "bad_pixel", "data must be a call as JSON in base64")
        outcome = route(replace(request, body=body), sources)
        if isinstance(outcome, Accepted):
            outcome.body, outcome.headers = _GIF, _HEADERS
        return outcome


class MetricsRoute:
    """Takes what analytics.js measures of itself, ``/v1/m``, and keeps nothing of it."""

    methods: Final = frozenset({"POST"})

    def __call__(self, request: Request, sources: Sources) -> Accepted | Refused:
        """Nothing; see ``Route``."""
        return Accepted(None, body=b'{"success":true}', headers={"content-type": "application/json"})
