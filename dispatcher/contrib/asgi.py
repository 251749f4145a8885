"""ASGI: the request's context for FastAPI, Starlette, Litestar and everything else that runs under an ASGI server.

    app.add_middleware(dispatcher.contrib.asgi.DispatcherMiddleware)

or, around any app: ``app = DispatcherMiddleware(app)``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any

from dispatcher.contrib.http_middleware import HttpMiddleware
from dispatcher.contrib.request_context import LAYER
from dispatcher.contrib.request_event import RequestEvents, form_length, read_fields
from dispatcher.emit.context import current, replace_context

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_App = Callable[[_Scope, _Receive, _Send], Awaitable[None]]
_Answer = Mapping[str, Any] | Awaitable[Mapping[str, Any] | None] | None

__all__ = ["DispatcherMiddleware"]


class DispatcherMiddleware(HttpMiddleware[_App, _Scope, _Answer]):
    """Binds who sent a request for its length, background tasks and streams included; for WebSockets too.

    It changes neither the request nor the response, and does not block, but for ``context``, which gets the scope and
    may be a coroutine function. The arguments are those of ``HttpMiddleware``.
    """

    _app_arguments = 3
    _other_module = "dispatcher.contrib.wsgi"

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Answer one request, or pass on what is something else, such as the start of the server."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = _read_headers(scope["headers"])
        fields = self._fields.make(peer=str((scope.get("client") or ("",))[0]), path=scope["path"], headers=headers)
        if self._hook is not None:
            fields |= await self._hook.find(scope)
        before = replace_context(current().with_layer(LAYER, fields))
        try:
            if self._events is not None and scope["type"] == "http":
                receive = await _emit_request(self._events, scope, headers, receive)
            await self._app(scope, receive, send)
        finally:
            replace_context(before)


async def _emit_request(
    events: RequestEvents, scope: _Scope, headers: Mapping[str, str], receive: _Receive
) -> _Receive:
    """Emit the event of a request; returns from where the app receives its body, as much as was read included."""
    path = _path_within(scope)
    if events.ignores(path):
        return receive
    form = b""
    length = form_length(scope["method"], headers.get("content-type", ""), headers.get("content-length", ""))
    if length:
        form, receive = await _read_ahead(receive, length)
    events.emit(path, read_fields(scope.get("query_string", b"")), read_fields(form))
    return receive


async def _read_ahead(receive: _Receive, length: int) -> tuple[bytes, _Receive]:
    """A body of that length, or as much as came, and what gives the same messages again, and then those behind."""
    messages = []
    body = b""
    is_open = True
    while is_open and len(body) < length:
        message = await receive()
        messages.append(message)
        body += message.get("body", b"")
        # A client that goes away sends http.disconnect instead.
        is_open = message.get("more_body", False)
    messages.reverse()

    async def receive_again() -> MutableMapping[str, Any]:
        return messages.pop() if messages else await receive()

    return body, receive_again


def _path_within(scope: _Scope) -> str:
    """The path without where the app is mounted, which servers put before it."""
    path: str = scope["path"]
    root = scope.get("root_path", "")
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


def _read_headers(pairs: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in pairs:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        # HTTP/2 may send one cookie a line (RFC 9113 §8.2.3).
        joint = "; " if key == "cookie" else ","
        headers[key] = f"{headers[key]}{joint}{text}" if key in headers else text
    return headers
