"""The WSGI middleware, held to PEP 3333 by the standard library's validator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator

import pytest

from dispatcher import tracker
from dispatcher.contrib.wsgi import DispatcherMiddleware
from dispatcher.emit.context import EMPTY, current
from dispatcher.testing import Captured

App = Callable[[dict[str, Any], Any], Iterable[bytes]]


def call(app: App, **environ: Any) -> bytes:
    given: dict[str, Any] = {"REMOTE_ADDR": "192.0.2.7", "QUERY_STRING": "", **environ}
    setup_testing_defaults(given)
    body = validator(app)(given, lambda *args: None)
    try:
        return b"".join(body)
    finally:
        body.close()  # type: ignore[attr-defined]
        assert current() is EMPTY


class Body:
    """Emits at each part, and as it is closed."""

    def __iter__(self) -> Iterator[bytes]:
        tracker.emit("shop.first")
        yield b"o"
        tracker.emit("shop.second")
        yield b"k"

    def close(self) -> None:
        tracker.emit("shop.closed")


def answer(start_response: Any, body: Iterable[bytes]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return body


def test_a_request_has_a_context_until_its_body_is_closed(emitted_events: Captured) -> None:
    app = DispatcherMiddleware(lambda environ, start_response: answer(start_response, Body()))
    assert call(app, PATH_INFO="/k\xc3\xa4se", SCRIPT_NAME="/shop", HTTP_USER_AGENT="curl") == b"ok"
    assert emitted_events.names == ["shop.first", "shop.second", "shop.closed"]
    assert {event.context["path"] for event in emitted_events.events} == {"/shop/käse"}
    assert {event.context["agent"] for event in emitted_events.events} == {"curl"}


def test_a_body_that_is_made_stays_what_it_is() -> None:
    made = [b"ok"]
    app = DispatcherMiddleware(lambda environ, start_response: made)
    assert app({"PATH_INFO": "/"}, None) is made
    file: Any = FileWrapper(open(__file__, "rb"))  # noqa: SIM115
    app = DispatcherMiddleware(lambda environ, start_response: file)
    assert app({"PATH_INFO": "/", "wsgi.file_wrapper": FileWrapper}, None) is file
    file.close()


def test_an_app_or_a_body_that_raises_leaves_nothing_bound() -> None:
    def broken() -> Iterator[bytes]:
        yield b"o"
        raise KeyError("body")

    def fail(environ: Any, start_response: Any) -> Iterable[bytes]:
        raise KeyError("app")

    with pytest.raises(KeyError, match="app"):
        DispatcherMiddleware(fail)({"PATH_INFO": "/"}, None)
    with pytest.raises(KeyError, match="body"):
        call(DispatcherMiddleware(lambda environ, start_response: answer(start_response, broken())))
    assert current() is EMPTY


def test_a_hook_says_who_it_is(emitted_events: Captured) -> None:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        tracker.emit("shop.seen")
        return answer(start_response, [b"ok"])

    call(DispatcherMiddleware(app, context=lambda environ: {"user_id": 7}))
    call(DispatcherMiddleware(app, context=lambda environ: 1 // 0))  # type: ignore[arg-type,return-value]
    assert [event.context["user_id"] for event in emitted_events.events] == [7, ""]
