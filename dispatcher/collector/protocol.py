"""Protocol: uvicorn's, with what it has no limits for: slow and long heads, old connections, and too many of them."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    from dispatcher.collector.counts import Counts
    from dispatcher.config.collector import CollectorSettings

#: Bytes of a request line and its headers; more are answered 431. As much as nginx and Apache take together.
MAX_HEAD_BYTES: Final = 64 * 1024
_CLOSING: Final = b"HTTP/1.1 %b\r\ncontent-length: 0\r\nconnection: close\r\n%b\r\n"


def make_protocol(settings: CollectorSettings, counts: Counts) -> type[asyncio.Protocol]:
    """The protocol class for uvicorn, with the limits of the settings. What it ends is counted by reason.

    Args:
        settings: ``header_seconds``, ``connection_seconds`` and ``connections``.
        counts: Those of the app.
    """

    class CollectorProtocol(HttpToolsProtocol):
        """One connection."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            # Give or take a tenth, so that connections that were opened together do not end together.
            self._old_at = self.loop.time() + settings.connection_seconds * random.uniform(0.9, 1.1)
            self._in_head, self._head_bytes = True, 0
            self._head_timer: asyncio.TimerHandle | None = None
            if len(self.connections) > settings.connections:
                self._end(b"503 Service Unavailable", "connections", b"retry-after: %d\r\n" % random.randint(1, 10))
                return
            self._head_timer = self.loop.call_later(settings.header_seconds, self._end_slow_head)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self._in_head and self.transport is not None and not self.transport.is_closing():
                self._head_bytes += len(data)
                if self._head_bytes > MAX_HEAD_BYTES:
                    self._end(b"431 Request Header Fields Too Large", "long_head")
                elif self._head_timer is None:
                    self._head_timer = self.loop.call_later(settings.header_seconds, self._end_slow_head)

        def on_message_begin(self) -> None:
            self._in_head, self._head_bytes = True, 0
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            self._in_head = False
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None
            super().on_headers_complete()
            if self.loop.time() > self._old_at:
                # The answer says "connection: close".
                self.cycle.keep_alive = False

        def connection_lost(self, exc: Exception | None) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
            super().connection_lost(exc)

        def send_400_response(self, msg: str) -> None:
            counts.refuse("bad_http")
            super().send_400_response(msg)

        def _end_slow_head(self) -> None:
            self._head_timer = None
            if self._head_bytes:
                self._end(b"408 Request Timeout", "slow_head")
            else:  # nothing was asked
                self.transport.close()

        def _end(self, status: bytes, code: str, headers: bytes = b"") -> None:
            counts.refuse(code)
            counts.requests[int(status[:3])] += 1
            self.transport.write(_CLOSING % (status, headers))
            self.transport.close()

    made: Any = CollectorProtocol
    return made  # type: ignore[no-any-return]
