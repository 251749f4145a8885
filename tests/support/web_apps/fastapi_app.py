"""The same in FastAPI."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from fastapi import BackgroundTasks, FastAPI
from fastapi.responses import PlainTextResponse, Response, StreamingResponse

from dispatcher.contrib.asgi import DispatcherMiddleware
from tests.support.web_apps import steps
from tests.support.web_apps.starlette_app import context_of

app = FastAPI()
app.add_middleware(DispatcherMiddleware, context=context_of)


@app.get("/courses/course-v1:Org+C{n}+R/plain")
def plain(n: int) -> Response:
    steps.emit("first", n)
    time.sleep(steps.pause(n))
    steps.emit("second", n)
    return PlainTextResponse("ok")


@app.get("/courses/course-v1:Org+C{n}+R/plain_async")
async def plain_async(n: int, background: BackgroundTasks) -> Response:
    steps.emit("first", n)
    await asyncio.sleep(steps.pause(n))
    background.add_task(steps.emit, "second", n)
    return PlainTextResponse("ok", background=background)


@app.get("/courses/course-v1:Org+C{n}+R/stream_async")
async def stream_async(n: int) -> Response:
    async def body() -> AsyncIterator[str]:
        steps.emit("first", n)
        yield "o"
        await asyncio.sleep(steps.pause(n))
        steps.emit("second", n)
        yield "k"

    return StreamingResponse(body())
