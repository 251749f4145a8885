"""Project settings: ``/v1/projects/<write key>/settings``, without which analytics.js sends nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

from dispatcher.collector.route import Accepted, Request
from dispatcher.intake.refused import Refused

if TYPE_CHECKING:
    from dispatcher.collector.sources import Sources

#: What stands before the key in the path.
PREFIX: Final = "/v1/projects/"
_SUFFIX: Final = "/settings"


class ProjectSettingsRoute:
    """Answers with the settings of a source that analytics.js needs: to send to where it got them, and nowhere else."""

    methods: Final = frozenset({"GET", "HEAD"})

    def __call__(self, request: Request, sources: Sources) -> Accepted | Refused:
        """The settings of the source of the key; see ``Route``."""
        if not request.path.endswith(_SUFFIX):
            return Refused(404, "unknown_path", "the path is unknown")
        key = request.path.removeprefix(PREFIX).removesuffix(_SUFFIX)
        source = sources.admit(key, request)
        if isinstance(source, Refused):
            return source
        page = request.headers.get("origin") or request.headers.get("referer", "")
        try:
            # A page that came by https may send to https only; what a proxy took the request by is not known here.
            protocol = urlsplit(page).scheme if page else request.headers.get("x-forwarded-proto", "")
        except ValueError:
            protocol = ""
        integration = {
            "apiKey": key,
            "apiHost": f"{request.headers.get('host', '')}/v1",
            "protocol": protocol if protocol in ("http", "https") else "http",
        }
        # Its metrics would go to Segment.
        settings = {"integrations": {"Segment.io": integration}, "plan": {}, "metrics": {"sampleRate": 0}}
        # For the browser alone: a cache in between would give others the host and the protocol of this request.
        headers = {"content-type": "application/json", "cache-control": "private, max-age=300"}
        return Accepted(None, body=msgspec.json.encode(settings), headers=headers)
