"""Metrics: what operators ask the collector, on a port of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from dispatcher.collector.app import Send
    from dispatcher.collector.body import Receive

_TEXT: Final = b"text/plain; charset=utf-8"
_METRICS: Final = b"text/plain; version=0.0.4; charset=utf-8"


class MetricsApp:
    """The ASGI application of that port: ``/metrics`` in Prometheus' text format, and nothing else.

    Args:
        render: Gives the text. It may read a few small files.
    """

    def __init__(self, render: Callable[[], bytes]) -> None:
        self._render = render

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        status, kind, body = 404, _TEXT, b"only /metrics is here\n"
        if scope["path"] == "/metrics":
            status, body = 405, b"only GET is answered here\n"
            if scope["method"] in ("GET", "HEAD"):
                status, kind, body = 200, _METRICS, self._render()
        headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
