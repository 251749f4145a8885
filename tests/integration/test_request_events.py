"""Request events in real servers: the event is whole, and the app reads the same form, as if nobody had before it."""

from __future__ import annotations

import http.client
import re
import sys
from urllib.parse import urlencode

import pytest

from tests.support.site import Site
from tests.support.tracking_lines import read_lines

FLASK = """
from flask import Flask, request
from dispatcher.contrib.wsgi import DispatcherMiddleware

app = Flask(__name__)
app.wsgi_app = DispatcherMiddleware(app.wsgi_app, request_events=True, ignore_paths=["^/health"])

@app.route("/<path:path>", methods=["GET", "POST"])
def answer(path):
    return {name: request.form.getlist(name) for name in request.form}
"""
STARLETTE = """
from urllib.parse import parse_qs
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from dispatcher.contrib.asgi import DispatcherMiddleware

async def answer(request):
    return JSONResponse(parse_qs((await request.body()).decode()))

app = Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])
app.add_middleware(DispatcherMiddleware, request_events=True, ignore_paths=["^/health"])
"""
GUNICORN = ("gunicorn", "app:app", "--bind", "127.0.0.1:0", "--no-control-socket", "--worker-class")
UVICORN = ("uvicorn", "app:app", "--host", "127.0.0.1", "--port", "0")


@pytest.mark.parametrize(
    ("source", "command"),
    [(FLASK, (*GUNICORN, "sync")), (FLASK, (*GUNICORN, "gevent")), (STARLETTE, UVICORN)],
    ids=["flask under gunicorn", "flask under gevent", "starlette under uvicorn"],
)
def test_an_event_for_each_request(site: Site, source: str, command: tuple[str, ...]) -> None:
    (site.directory / "app.py").write_text(source)
    server = site.processes.start(sys.executable, "-m", *command, PYTHONPATH=str(site.directory))
    server.wait_for_output("http://127.0.0.1:")
    found = re.search(r"http://127\.0\.0\.1:(\d+)", server.output)
    assert found is not None
    connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=60)
    form = {"password": ["secret"], "card": ["1"] * 20, "comment": ["ü" * 5_000]}

    def ask(method: str, path: str, body: str = "") -> bytes:
        type_ = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
        connection.request(method, path, body, type_)
        response = connection.getresponse()
        assert response.status == 200
        return response.read()

    try:
        ask("GET", "/health")
        ask("GET", "/look?token=secret&q=" + "x" * 3_000)
        answered = ask("POST", "/pay", urlencode(form, doseq=True))
    finally:
        connection.close()
    assert len(re.findall(rb"secret|\"1\"|u00fc|\xc3\xbc", answered)) == 1 + 20 + 5_000
    assert server.stop() in (0, -15)
    site.worker()
    site.wait_for_lines(2)
    look, pay = sorted(read_lines(site.log), key=lambda line: str(line["name"]))
    assert (look["name"], look["event"]) == ("/look", {"GET": {"token": ["********"], "q": ["x" * 1_000]}, "POST": {}})
    masked = {"password": ["********"], "card": ["1"] * 20, "comment": ["ü" * 1_000]}
    assert (pay["name"], pay["event"], pay["context"]["path"]) == ("/pay", {"GET": {}, "POST": masked}, "/pay")
