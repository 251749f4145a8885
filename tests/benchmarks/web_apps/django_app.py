"""An app in Django. Its middleware for sessions and users is there with and without events."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Final

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.urls import path

from tests.benchmarks.emitters import Emitter
from tests.benchmarks.web_apps.browser import ADDRESS, BARE, EMITS, HEADERS, Ask, peer_context

_OWN: Final = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
_OURS: Final = "dispatcher.contrib.django.RequestContextMiddleware"
# Here, since an emitter that needs Django's settings takes those that are there.
settings.configure(
    USE_TZ=True,
    ALLOWED_HOSTS=[HEADERS["host"]],
    SECRET_KEY="of the benchmark",
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    INSTALLED_APPS=[
        *("django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"),
        # It does nothing without its middleware.
        "dispatcher.contrib.django",
    ],
)
django.setup()

# Django makes a middleware by its name alone.
_opened: dict[str, Emitter] = {}


def open_app(name: str, emitter: Emitter, emit: Callable[[], object]) -> tuple[Ask, Ask]:
    """Asks for the bare view, and for the one that emits."""

    def answer(request: HttpRequest) -> HttpResponse:
        return HttpResponse("ok")

    def answer_and_emit(request: HttpRequest) -> HttpResponse:
        emit()
        return HttpResponse("ok")

    _opened["peer"] = emitter
    settings.ROOT_URLCONF = (path(BARE[1:], answer), path(EMITS[1:], answer_and_emit))
    settings.MIDDLEWARE = _OWN
    bare = WSGIHandler()
    settings.MIDDLEWARE = [*_OWN, _OURS if name == "ours" else f"{__name__}.PeerMiddleware"]
    return _asking(bare, BARE), _asking(WSGIHandler(), EMITS)


class PeerMiddleware:
    """Binds the context of event-tracking for the length of a request."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response
        self._emitter = _opened["peer"]

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer a request."""
        cookie = request.COOKIES.get("_ga", "")
        context = peer_context(request.META["REMOTE_ADDR"], request.path, request.headers, cookie, request.user)
        self._emitter.bind(context)
        try:
            return self._get_response(request)
        finally:
            self._emitter.unbind()


def _asking(handler: WSGIHandler, path: str) -> Ask:
    environ = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "REMOTE_ADDR": ADDRESS,
        "SERVER_NAME": HEADERS["host"],
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in HEADERS.items()},
    }

    def ask(count: int) -> None:
        for _ in range(count):
            response = handler({**environ, "wsgi.input": io.BytesIO()}, _start)
            assert b"".join(response) == b"ok"
            response.close()

    return ask


def _start(status: str, headers: list[tuple[str, str]]) -> None:
    assert status == "200 OK"
