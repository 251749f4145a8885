"""An app in Starlette, in an event loop of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from dispatcher.contrib.asgi import DispatcherMiddleware
from tests.benchmarks.emitters import Emitter
from tests.benchmarks.web_apps.browser import ADDRESS, BARE, EMITS, HEADERS, Ask, peer_context


def open_app(name: str, emitter: Emitter, emit: Callable[[], object]) -> tuple[Ask, Ask]:
    """Asks for the bare endpoint, and for the one that emits."""

    async def answer(request: Request) -> PlainTextResponse:
        return PlainTextResponse("ok")

    async def answer_and_emit(request: Request) -> PlainTextResponse:
        emit()
        return PlainTextResponse("ok")

    of_events = Middleware(DispatcherMiddleware) if name == "ours" else Middleware(PeerMiddleware, emitter=emitter)
    loop = asyncio.new_event_loop()
    bare = Starlette(routes=[Route(BARE, answer)])
    whole = Starlette(routes=[Route(EMITS, answer_and_emit)], middleware=[of_events])
    return _asking(loop, bare, BARE), _asking(loop, whole, EMITS)


class PeerMiddleware:
    """Binds the context of event-tracking for the length of a request."""

    def __init__(self, app: Any, emitter: Emitter) -> None:
        self._app = app
        self._emitter = emitter

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Answer a request."""
        request = Request(scope)
        cookie = request.cookies.get("_ga", "")
        self._emitter.bind(peer_context(scope["client"][0], scope["path"], request.headers, cookie, None))
        try:
            await self._app(scope, receive, send)
        finally:
            self._emitter.unbind()


def _asking(loop: asyncio.AbstractEventLoop, app: Starlette, path: str) -> Ask:
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "client": (ADDRESS, 4711),
        "server": (HEADERS["host"], 80),
        "headers": [(name.encode(), value.encode()) for name, value in HEADERS.items()],
    }

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        assert message.get("status", 200) == 200

    async def ask(count: int) -> None:
        for _ in range(count):
            await app({**scope, "headers": list(scope["headers"])}, receive, send)

    return lambda count: loop.run_until_complete(ask(count))
