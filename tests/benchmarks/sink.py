"""Sink: answers Segment's requests and counts their messages. Prints its port; is killed when done.

Written with asyncio and without a JSON parser: its processor time must hardly count in a measurement.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Final
from zlib import decompress

_MESSAGE_ID: Final = re.compile(rb'"messageId": ?"([^"]+)"')
# zlib's window for gzip.
_GZIP: Final = 31


class Sink:
    """Counts messages by their messageId."""

    def __init__(self) -> None:
        self._messages = 0
        self._ids: set[bytes] = set()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until the client closes it. asyncio sets TCP_NODELAY by itself."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lower = head.lower()
                length = re.search(rb"content-length: *(\d+)", lower)
                body = await reader.readexactly(int(length[1])) if length is not None else b""
                if b"content-encoding: gzip" in lower:
                    body = decompress(body, _GZIP)
                found = _MESSAGE_ID.findall(body)
                self._messages += len(found)
                self._ids.update(found)
                writer.write(_response(self._counts() if head.startswith(b"GET") else b'{"success": true}'))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _counts(self) -> bytes:
        return json.dumps({"messages": self._messages, "unique": len(self._ids)}).encode()


def _response(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def _serve() -> None:
    server = await asyncio.start_server(Sink().answer, "127.0.0.1", 0, limit=1 << 20)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve())
