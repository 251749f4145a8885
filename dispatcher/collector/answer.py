"""Answer: what the collector sends back: small JSON, or the bytes of a route."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from dispatcher.collector.route import Accepted, Refused

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
    if not accepted.rejected:
        return b'{"success":true,"accepted":%d,"rejected":[]}' % count, [_JSON, *_COMMON]
    items = [
        {"index": item.index, "messageId": item.id, "code": item.code, "message": item.message}
        for item in accepted.rejected
    ]
    return _encode({"success": True, "accepted": count, "rejected": items}), [_JSON, *_COMMON]


def refused_body(refused: Refused) -> tuple[bytes, Headers]:
    """The body and headers of a request of which nothing was taken."""
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in refused.headers.items()]
    body = _encode({"success": False, "code": refused.code, "message": refused.message})
    return body, [_JSON, *_COMMON, *headers]
