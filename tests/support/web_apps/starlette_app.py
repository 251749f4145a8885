"""The same in Starlette, with a BaseHTTPMiddleware on either side of ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from dispatcher.contrib.asgi import DispatcherMiddleware
from tests.support.web_apps import steps


async def context_of(scope: MutableMapping[str, Any]) -> dict[str, object]:
    await asyncio.sleep(0)
    return steps.more(scope["path"], {name.decode(): value.decode() for name, value in scope["headers"]})


class Neighbour(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)


async def plain_async(request: Request) -> Response:
    n = steps.number(request.url.path)
    steps.emit("first", n)
    await asyncio.sleep(steps.pause(n))
    await run_in_threadpool(steps.emit, "second", n)
    return PlainTextResponse("ok")


def plain(request: Request) -> Response:
    n = steps.number(request.url.path)
    steps.emit("first", n)
    return PlainTextResponse("ok", background=BackgroundTask(steps.emit, "second", n))


async def stream_async(request: Request) -> Response:
    n = steps.number(request.url.path)

    async def body() -> AsyncIterator[str]:
        steps.emit("first", n)
        yield "o"
        await asyncio.sleep(steps.pause(n))
        steps.emit("second", n)
        yield "k"

    return StreamingResponse(body())


_ENDPOINTS = {"plain": plain, "plain_async": plain_async, "stream_async": stream_async}
app = Starlette(
    routes=[Route(f"/courses/{{course}}/{kind}", endpoint) for kind, endpoint in _ENDPOINTS.items()],
    middleware=[
        Middleware(Neighbour),
        Middleware(DispatcherMiddleware, context=context_of),
        Middleware(Neighbour),
    ],
)
