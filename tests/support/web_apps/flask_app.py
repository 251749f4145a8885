"""The same in Flask."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from flask import Flask, Response, request

from dispatcher.contrib.wsgi import DispatcherMiddleware
from tests.support.web_apps import steps


def context_of(environ: dict[str, Any]) -> dict[str, object]:
    headers = {"x-user": environ["HTTP_X_USER"], "x-request-id": environ["HTTP_X_REQUEST_ID"]}
    return steps.more(environ["PATH_INFO"], headers)


app = Flask(__name__)
app.wsgi_app = DispatcherMiddleware(app.wsgi_app, context=context_of)  # type: ignore[method-assign]


@app.get("/courses/<course>/plain")
def plain(course: str) -> str:
    n = steps.number(request.path)
    steps.emit("first", n)
    time.sleep(steps.pause(n))
    steps.emit("second", n)
    return "ok"


@app.get("/courses/<course>/stream")
def stream(course: str) -> Response:
    n = steps.number(request.path)

    def body() -> Iterator[str]:
        steps.emit("first", n)
        yield "o"
        time.sleep(steps.pause(n))
        steps.emit("second", n)
        yield "k"

    return Response(body())
