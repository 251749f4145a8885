"""Sink: answers the requests of Segment and other vendors and counts what is in them.

Prints its port; is killed when done. Written with asyncio and without a JSON parser: its processor time must hardly
count in a measurement, and it must never be what the others wait for. So while requests come, it only counts the
messages in them, and keeps their bodies; ids and waits are read from these once somebody asks for them.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from array import array
from typing import Any, Final
from zlib import decompress

_LENGTH: Final = re.compile(rb"content-length: *(\d+)")
# zlib's window for gzip.
_GZIP: Final = 31
# As Python's json writes it, and as those do that leave out blanks.
_ID_KEY: Final = b'"messageId":'
_EMITTED_KEY: Final = b'"emitted_at":'
# Meta's API says how many events it has received; all others look at the status only.
_TAKEN: Final = b'{"success": true, "events_received": %d}'
_META_KEY: Final = b'"event_name":'
# Bytes of bodies from which on they are read before anybody asks.
_MAX_UNREAD_BYTES: Final = 256 << 20
_LEVELS: Final = {"p50": 0.5, "p99": 0.99, "longest": 1.0}


class Sink:
    """Counts requests, their messages by messageId, and how long each message was on its way.

    Args:
        latency_seconds: Each answer comes this much later, whatever else is to be answered.
    """

    def __init__(self, latency_seconds: float) -> None:
        self._latency_seconds = latency_seconds
        self._forget()

    def _forget(self) -> None:
        self._requests = 0
        self._bytes = 0
        self._messages = 0
        self._ids: set[bytes] = set()
        # When bodies came that are not read yet, and the bodies.
        self._unread: list[tuple[float, bytes]] = []
        self._unread_bytes = 0
        # When messages came, and how long after their call.
        self._arrived = array("d")
        self._waits = array("d")

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until the client closes it. asyncio sets TCP_NODELAY by itself."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                if head.startswith(b"GET"):
                    writer.write(_response(json.dumps(self._question(head.split(b" ", 2)[1])).encode()))
                    continue
                lower = head.lower()
                length = _LENGTH.search(lower)
                body = await reader.readexactly(int(length[1])) if length is not None else b""
                text = decompress(body, _GZIP) if b"content-encoding: gzip" in lower else body
                self._take(text, len(body))
                if self._latency_seconds:
                    await asyncio.sleep(self._latency_seconds)
                writer.write(_response(_TAKEN % text.count(_META_KEY)))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _take(self, body: bytes, sent_bytes: int) -> None:
        self._requests += 1
        self._bytes += sent_bytes
        self._messages += body.count(_ID_KEY)
        self._unread.append((time.monotonic(), body))
        self._unread_bytes += len(body)
        if self._unread_bytes > _MAX_UNREAD_BYTES:
            self._read()

    def _read(self) -> None:
        for now, body in self._unread:
            # Splitting is several times as fast as a regular expression here.
            self._ids.update(part[:64].split(b'"', 2)[1] for part in body.split(_ID_KEY)[1:])
            for part in body.split(_EMITTED_KEY)[1:]:
                self._arrived.append(now)
                self._waits.append(now - float(re.split(rb"[,}]", part[:32], maxsplit=1)[0]))
        self._unread.clear()
        self._unread_bytes = 0

    def _question(self, path: bytes) -> dict[str, Any]:
        if path == b"/messages":
            return {"messages": self._messages}
        self._read()
        counts: dict[str, Any] = {
            "requests": self._requests,
            "bytes": self._bytes,
            "messages": self._messages,
            "unique": len(self._ids),
        }
        if path == b"/waits":
            counts |= self._wait_counts()
        elif path == b"/forget":
            self._forget()
        return counts

    def _wait_counts(self) -> dict[str, Any]:
        ordered = sorted(self._waits)
        by_second: dict[int, float] = {}
        for arrived, wait in zip(self._arrived, self._waits, strict=True):
            second = int(arrived - self._arrived[0])
            by_second[second] = max(by_second.get(second, 0.0), round(wait, 3))
        found = {name: ordered[min(len(ordered) - 1, int(len(ordered) * level))] for name, level in _LEVELS.items()}
        return {"waits": found, "by_second": [by_second.get(second, 0.0) for second in range(max(by_second) + 1)]}


def _response(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def _serve(latency_seconds: float) -> None:
    server = await asyncio.start_server(Sink(latency_seconds).answer, "127.0.0.1", 0, limit=1 << 20, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(float(sys.argv[1])))
