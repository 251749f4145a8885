"""ASGI: the request's context for FastAPI, Starlette, Litestar and everything else that runs under an ASGI server.

    app.add_middleware(dispatcher.contrib.asgi.DispatcherMiddleware)

or, around any app: ``app = DispatcherMiddleware(app)``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any

from dispatcher.contrib.request_context import LAYER, Hook, RequestContext
from dispatcher.emit.context import current, replace_context

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_App = Callable[[_Scope, _Receive, _Send], Awaitable[None]]

__all__ = ["DispatcherMiddleware"]


class DispatcherMiddleware:
    """Binds who sent a request for its length, background tasks and streams included; for WebSockets too.

    It changes neither the request nor the response, and does not block, but for ``context``.

    Args:
        app: What it stands before.
        proxies: Networks of proxies whose ``X-Forwarded-For`` counts, such as ``10.0.0.0/8``. None: it is not read.
        session_cookie: The cookie that is the same for all requests of a session; its hash becomes ``session``.
        context: Gets the scope, and returns what else to bind, such as ``{"user_id": 7}``; may be a coroutine
            function. If it raises, that is logged, and the request goes on.

    Raises:
        ValueError: One of the proxies is not a network.
        TypeError: ``proxies`` is one text.
    """

    def __init__(
        self,
        app: _App,
        *,
        proxies: Sequence[str] = (),
        session_cookie: str = "",
        context: Callable[[_Scope], Mapping[str, Any] | Awaitable[Mapping[str, Any] | None] | None] | None = None,
    ) -> None:
        self._app = app
        self._fields = RequestContext(proxies=proxies, session_cookie=session_cookie)
        self._hook = None if context is None else Hook(context, "DispatcherMiddleware's context")

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Answer one request, or pass on what is something else, such as the start of the server."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        fields = self._fields.make(
            peer=str((scope.get("client") or ("",))[0]), path=scope["path"], headers=_read_headers(scope["headers"])
        )
        if self._hook is not None:
            fields |= await self._hook.find(scope)
        before = replace_context(current().with_layer(LAYER, fields))
        try:
            await self._app(scope, receive, send)
        finally:
            replace_context(before)


def _read_headers(pairs: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in pairs:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        # HTTP/2 may send one cookie a line (RFC 9113 §8.2.3).
        joint = "; " if key == "cookie" else ","
        headers[key] = f"{headers[key]}{joint}{text}" if key in headers else text
    return headers
