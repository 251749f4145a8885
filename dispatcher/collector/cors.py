"""CORS: which pages may read an answer (https://fetch.spec.whatwg.org/#http-cors-protocol)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from dispatcher.collector.answer import Headers

if TYPE_CHECKING:
    from dispatcher.collector.sources import Sources

# Seconds for which a browser need not ask again; Chromium takes at most two hours of it.
_MAX_AGE: Final = b"86400"


def cors_headers(origin: str, sources: Sources) -> Headers:
    """The headers that let a page of this origin read the answer. Cookies only for origins that a source lists.

    Args:
        origin: As the request says it; empty where it says none.
        sources: All of them: the key of a request is known too late, and in a preflight never.
    """
    if not origin:
        return [(b"vary", b"origin")]
    headers = [(b"vary", b"origin"), (b"access-control-allow-origin", origin.encode("latin-1"))]
    if sources.lists_origin(origin):
        headers.append((b"access-control-allow-credentials", b"true"))
    return headers


def preflight_headers(origin: str, asked: str, methods: Sequence[str], sources: Sources) -> Headers:
    """The headers of the answer to OPTIONS, which has no body.

    Args:
        origin: As in ``cors_headers``.
        asked: Access-Control-Request-Headers: all that are asked for are allowed, as none of them decides anything.
        methods: Those of the path.
        sources: As in ``cors_headers``.
    """
    headers = cors_headers(origin, sources)
    headers.append((b"access-control-allow-methods", ", ".join([*methods, "OPTIONS"]).encode()))
    headers.append((b"access-control-max-age", _MAX_AGE))
    if asked:
        headers.append((b"access-control-allow-headers", asked.encode("latin-1")))
    return headers
