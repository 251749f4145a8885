"""Mobile: ``/segmentio/event``, to which Segment sends what edX's mobile apps tracked, one call a request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dispatcher.collector.route import Accepted, Rejected, Request
from dispatcher.collector.sources import Source
from dispatcher.config.collector import SourceSettings
from dispatcher.event import Event
from dispatcher.intake.edx_mobile import Allowed, is_key, read_call
from dispatcher.intake.json_body import decode_body
from dispatcher.intake.refused import Refused

if TYPE_CHECKING:
    from dispatcher.collector.sources import Sources
    from dispatcher.config.collector import CollectorSettings

#: Under which name its events are counted, and which they have as ``collector_source``.
SOURCE: Final = "segmentio"


class MobileRoute:
    """Takes a track call as Segment's webhook sends it. What the platform would drop is dropped, and answered 200.

    Args:
        settings: Those that begin with ``mobile_``.
    """

    methods: Final = frozenset({"POST"})

    def __init__(self, settings: CollectorSettings) -> None:
        self._allowed = Allowed(settings.mobile_types, settings.mobile_libraries, settings.mobile_disallowed_names)
        secret = settings.mobile_secret
        self._secret = b"" if secret is None else secret.get_secret_value().encode()
        self._source = Source(SOURCE, SourceSettings(write_key=("unused",), kind="server"))

    def __call__(self, request: Request, sources: Sources) -> Accepted | Refused:
        """One event of the type ``event``; see ``Route``."""
        if not self._secret:
            return Refused(404, "unknown_path", "the path is unknown")
        if not is_key(request.fields().get("key", ""), self._secret):
            return Refused(401, "unknown_key", "the key of the query is not collector.mobile_secret")
        call = decode_body(request.body)
        if isinstance(call, Refused):
            return call
        accepted = Accepted(self._source, body=b"", headers={"content-type": "text/plain; charset=utf-8"})
        made = read_call(call, self._allowed, host=request.headers.get("host", ""), path=request.path)
        if isinstance(made, Event):
            accepted.events = [made]
        else:
            # Whoever sends is not told why, as by the platform.
            accepted.rejected.append(Rejected(0, "", *made))
        return accepted
