"""Body: reads what a client sends, within limits of size, time and inflation."""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from dispatcher.intake.refused import Refused
from dispatcher.outcomes import TOO_LARGE

if TYPE_CHECKING:
    from dispatcher.config.collector import CollectorSettings

Receive = Callable[[], Awaitable[Mapping[str, Any]]]

# A body that inflates to more than a hundred times its size is a bomb: JSON of events comes to some twenty.
_MAX_RATIO: Final = 100
# Up to that size it may.
_ANY_RATIO_BYTES: Final = 64 * 1024
# A body may take so many times body_seconds altogether.
_MAX_PAUSES: Final = 6


class BodyRefusedError(Exception):
    """The body cannot be taken; ``refused`` is the answer, None where the client has gone."""

    def __init__(self, refused: Refused | None) -> None:
        super().__init__(refused.code if refused else "client_gone")
        self.refused: Final = refused


def too_large(limit: int, setting: str) -> Refused:
    """The refusal of a body beyond a limit of the settings."""
    return Refused(413, TOO_LARGE, f"the body is larger than collector.{setting} ({limit:,} bytes): send less at once")


async def read_body(receive: Receive, settings: CollectorSettings) -> bytes:
    """The body as it was sent.

    Raises:
        BodyRefusedError: It is larger than ``body_bytes``, paused for longer than ``body_seconds``, or the client has
            gone before its end.
    """
    message = await _next(receive, settings.body_seconds)
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        if len(body) > settings.body_bytes:
            raise BodyRefusedError(too_large(settings.body_bytes, "body_bytes"))
        return body
    parts, size = [body], len(body)
    # Or a byte every few seconds would hold a place for days.
    ends_at = time.monotonic() + _MAX_PAUSES * settings.body_seconds
    while message.get("more_body"):
        message = await _next(receive, min(settings.body_seconds, ends_at - time.monotonic()))
        part = message.get("body", b"")
        size += len(part)
        if size > settings.body_bytes:
            raise BodyRefusedError(too_large(settings.body_bytes, "body_bytes"))
        parts.append(part)
    return b"".join(parts)


async def wait_until_gone(receive: Receive) -> None:
    """Wait until the client of a request whose body was read has gone, or its answer was sent. May be cancelled."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _next(receive: Receive, seconds: float) -> Mapping[str, Any]:
    try:
        async with asyncio.timeout(seconds):
            message = await receive()
    except TimeoutError:
        raise BodyRefusedError(
            Refused(408, "slow_body", "the body did not come in time: send it again", {"connection": "close"})
        ) from None
    if message["type"] == "http.disconnect":
        raise BodyRefusedError(None)
    return message


def inflate(body: bytes, encoding: str, limit: int) -> bytes:
    """The body without its Content-Encoding.

    Args:
        body: As it was sent.
        encoding: The header: gzip, deflate, identity or nothing.
        limit: The most bytes to make of it.

    Raises:
        BodyRefusedError: It is of another encoding, damaged, too large, or a bomb.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise BodyRefusedError(
            Refused(
                415,
                "unknown_encoding",
                "Content-Encoding must be gzip, deflate or left out",
                {"accept-encoding": "gzip"},
            )
        )
    # 32: a zlib or gzip header, whichever comes. Clients that say gzip and send JSON as it is are known.
    if encoding != "deflate" and not body.startswith(b"\x1f\x8b"):
        return body
    largest = min(limit, max(_MAX_RATIO * len(body), _ANY_RATIO_BYTES))
    decompressor = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        inflated = decompressor.decompress(body, largest + 1)
    except zlib.error:
        raise BodyRefusedError(Refused(400, "damaged_body", "the body cannot be inflated: it is damaged")) from None
    if len(inflated) > largest:
        raise BodyRefusedError(
            too_large(limit, "inflated_bytes")
            if largest == limit
            else Refused(413, "bomb", f"the body inflates to more than {_MAX_RATIO} times its size")
        )
    if not decompressor.eof:
        raise BodyRefusedError(Refused(400, "damaged_body", "the body cannot be inflated: its end is missing"))
    return inflated
