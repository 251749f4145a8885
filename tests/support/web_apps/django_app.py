"""A Django project in one module, for WSGI and ASGI servers."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import re_path

from tests.support.web_apps import steps


def context_of(request: HttpRequest) -> dict[str, object]:
    return steps.more(request.path, {name.lower(): value for name, value in request.headers.items()})


settings.configure(
    ALLOWED_HOSTS=["*"],
    SECRET_KEY="a secret",
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=[
        *("django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"),
        "dispatcher.contrib.django",
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "dispatcher.contrib.django.RequestContextMiddleware",
    ],
    DISPATCHER={"CONTEXT": "tests.support.web_apps.django_app.context_of"},
)
django.setup()
if os.environ.get("EMIT_AT_IMPORT"):
    steps.emit("import", -1)


def plain(request: HttpRequest) -> HttpResponse:
    n = steps.number(request.path)
    steps.emit("first", n)
    time.sleep(steps.pause(n))
    steps.emit("second", n)
    return HttpResponse("ok")


async def plain_async(request: HttpRequest) -> HttpResponse:
    n = steps.number(request.path)
    steps.emit("first", n)
    await asyncio.sleep(steps.pause(n))
    steps.emit("second", n)
    return HttpResponse("ok")


def stream(request: HttpRequest) -> StreamingHttpResponse:
    n = steps.number(request.path)

    def body() -> Iterator[str]:
        steps.emit("first", n)
        yield "o"
        time.sleep(steps.pause(n))
        steps.emit("second", n)
        yield "k"

    return StreamingHttpResponse(body())


async def stream_async(request: HttpRequest) -> StreamingHttpResponse:
    n = steps.number(request.path)

    async def body() -> AsyncIterator[str]:
        steps.emit("first", n)
        yield "o"
        await asyncio.sleep(steps.pause(n))
        steps.emit("second", n)
        yield "k"

    return StreamingHttpResponse(body())


_VIEWS = {"plain": plain, "plain_async": plain_async, "stream": stream, "stream_async": stream_async}
urlpatterns = [re_path(rf"^courses/[^/]+/{kind}$", view) for kind, view in _VIEWS.items()]
wsgi = get_wsgi_application()
asgi = get_asgi_application()
