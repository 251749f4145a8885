"""Answer: what the collector sends back: small JSON, or the bytes of a route."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from dispatcher.collector.route import Accepted
    from dispatcher.intake.refused import Refused

# With their words (https://www.rfc-editor.org/rfc/rfc9110#section-15).
_STATUS_LINES: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
Headers = list[tuple[bytes, bytes]]

_encode: Final = msgspec.json.Encoder().encode
_JSON: Final = (b"content-type", b"application/json")
# What comes in is nobody's to keep, and no page may take JSON for something else.
_COMMON: Final = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))


def accepted_body(accepted: Accepted) -> tuple[bytes, Headers]:
    """The body and headers of a good request."""
    if accepted.body is not None:
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in accepted.headers.items()]
        if "cache-control" not in accepted.headers:
            headers.append(_COMMON[0])
        return accepted.body, headers
    count = len(accepted.events)
    if not accepted.rejected and not accepted.handover:
        return b'{"success":true,"accepted":%d,"rejected":[]}' % count, [_JSON, *_COMMON]
    items = [
        {"index": item.index, "messageId": item.id, "code": item.code, "message": item.message}
        for item in accepted.rejected
    ]
    body: dict[str, object] = {"success": True, "accepted": count, "rejected": items}
    if accepted.handover:
        body["handover"] = accepted.handover
    return _encode(body), [_JSON, *_COMMON]


def refused_body(refused: Refused) -> tuple[bytes, Headers]:
    """The body and headers of a request of which nothing was taken."""
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in refused.headers.items()]
    body = _encode({"success": False, "code": refused.code, "message": refused.message})
    return body, [_JSON, *_COMMON, *headers]


def encode_answer(status: int, body: bytes, headers: Headers, *, keeps_alive: bool) -> bytes:
    """The bytes of an answer of HTTP/1.1.

    Args:
        status: With a body, so not 204 or 304.
        body: All of it.
        headers: Without Content-Length. No value comes from a client but the Origin, in which the parser lets no line
            break through.
        keeps_alive: Whether the connection goes on.
    """
    return encode_head(status, headers) + encode_body(body, keeps_alive=keeps_alive)


def encode_head(status: int, headers: Headers) -> bytes:
    """The beginning of an answer, up to its length; see ``encode_answer``."""
    return b"".join((_STATUS_LINES[status], *[b"%b: %b\r\n" % header for header in headers]))


def encode_body(body: bytes, *, keeps_alive: bool) -> bytes:
    """The rest of an answer, behind ``encode_head``."""
    return (b"content-length: %d\r\n\r\n%b" if keeps_alive else _LAST) % (len(body), body)


_LAST: Final = b"connection: close\r\ncontent-length: %d\r\n\r\n%b"
