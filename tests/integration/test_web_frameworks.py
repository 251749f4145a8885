"""Each event of many requests at once has the user, course and path of its own request, in every framework and server.

Long form, 5,000 requests each: `WEB_REQUESTS=5000 make test ARGS=tests/integration/test_web_frameworks.py`.
"""

from __future__ import annotations

import re
import sys

import pytest

from tests.support.processes import ROOT
from tests.support.site import Site
from tests.support.web_client import REQUESTS, ask_all, assert_each_has_its_own

SYNC = ("plain", "stream")
ASYNC = ("plain", "plain_async", "stream_async")


def play(site: Site, command: list[str], kinds: tuple[str, ...], *, more: int = 0, **environ: str) -> None:
    server = site.processes.start(sys.executable, "-m", *command, PYTHONPATH=str(ROOT), **environ)
    address = re.compile(r"http://127\.0\.0\.1:(\d+)")
    server.wait_for_output("http://127.0.0.1:")
    found = address.search(server.output)
    assert found is not None
    ask_all(int(found[1]), kinds)
    assert server.stop() in (0, -15)
    assert "Traceback" not in server.output, server.output
    site.worker()
    site.wait_for_lines(REQUESTS * 2 + more, 120)
    assert_each_has_its_own(site.log, kinds)


@pytest.mark.parametrize(("kind", "preload"), [("sync", True), ("gthread", False), ("gevent", True)])
def test_django_under_gunicorn(site: Site, kind: str, preload: bool) -> None:
    command = ["gunicorn", "tests.support.web_apps.django_app:wsgi", "--bind", "127.0.0.1:0", "--workers", "2"]
    command += ["--worker-class", kind, "--graceful-timeout", "10", "--no-control-socket"]
    command += ["--threads", "4"] * (kind == "gthread") + ["--preload"] * preload
    # Django runs an async view in an event loop of the thread, and greenlets of one thread cannot each have one.
    kinds = SYNC if kind == "gevent" else (*SYNC, "plain_async")
    play(site, command, kinds, more=preload, EMIT_AT_IMPORT="yes" * preload)


def test_django_under_uvicorn(site: Site) -> None:
    play(site, uvicorn("django_app:asgi"), (*ASYNC, "stream"))


@pytest.mark.parametrize("app", ["starlette_app:app", "fastapi_app:app"])
def test_starlette_and_fastapi_under_uvicorn(site: Site, app: str) -> None:
    play(site, uvicorn(app), ASYNC)


@pytest.mark.parametrize("kind", ["gthread", "gevent"])
def test_flask_under_gunicorn(site: Site, kind: str) -> None:
    command = ["gunicorn", "tests.support.web_apps.flask_app:app", "--bind", "127.0.0.1:0", "--workers", "2"]
    command += ["--worker-class", kind, "--graceful-timeout", "10", "--no-control-socket"]
    play(site, command + ["--threads", "8"] * (kind == "gthread"), SYNC)


def uvicorn(app: str) -> list[str]:
    return ["uvicorn", f"tests.support.web_apps.{app}", "--host", "127.0.0.1", "--port", "0", "--lifespan", "off"]
