"""The event of a request, of ASGI and WSGI alike: what is in it, and what the app still finds."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlencode

import pytest

from dispatcher import tracker
from dispatcher.contrib import asgi, wsgi
from dispatcher.event import Event
from dispatcher.testing import Captured

FORM = "application/x-www-form-urlencoded"
#: Sends one request through a middleware: the path, the query, the form. Returns the body that the app has read.
Send = Callable[..., bytes]


def send_wsgi(path: str, query: str = "", body: bytes = b"", type_: str = FORM, **arguments: Any) -> bytes:
    read: list[bytes] = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        tracker.emit("shop.seen")
        read.append(environ["wsgi.input"].read())
        return [b"ok"]

    environ = {
        "REQUEST_METHOD": "POST" if body else "GET",
        "SCRIPT_NAME": "/shop",
        "PATH_INFO": path.encode().decode("latin-1"),
        "QUERY_STRING": query,
        "wsgi.input": io.BytesIO(body),
    }
    if body:
        environ |= {"CONTENT_TYPE": type_, "CONTENT_LENGTH": str(len(body))}
    wsgi.DispatcherMiddleware(app, **{"request_events": True, **arguments})(environ, None)
    return read[0]


def send_asgi(path: str, query: str = "", body: bytes = b"", type_: str = FORM, **arguments: Any) -> bytes:
    parts = [body[:3], body[3:]]
    sent = [{"type": "http.request", "body": part, "more_body": part is parts[0]} for part in parts]
    messages = iter([*sent, {"type": "http.disconnect"}])
    read: list[dict[str, Any]] = []

    async def receive() -> Any:
        return next(messages)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        tracker.emit("shop.seen")
        while not read or read[-1]["type"] != "http.disconnect":
            read.append(await receive())

    headers = [(b"content-type", type_.encode()), (b"content-length", str(len(body)).encode())] * bool(body)
    scope = {
        "type": "http",
        "method": "POST" if body else "GET",
        "root_path": "/shop",
        "path": f"/shop{path}",
        "query_string": query.encode(),
        "headers": headers,
        "client": ("192.0.2.7", 1),
    }
    middleware = asgi.DispatcherMiddleware(app, **{"request_events": True, **arguments})
    asyncio.run(middleware(scope, receive, None))  # type: ignore[arg-type]
    assert read[:-1] == sent
    return b"".join(message.get("body", b"") for message in read)


@pytest.fixture(params=[send_wsgi, send_asgi], ids=["wsgi", "asgi"])
def send(request: pytest.FixtureRequest) -> Send:
    function: Send = request.param
    return function


def request_event(captured: Captured) -> Event:
    first, seen = captured.events
    assert seen.name == "shop.seen"
    return first


def test_a_query_and_a_form_are_in_it_with_their_secrets_masked(emitted_events: Captured, send: Send) -> None:
    body = urlencode({"password": "p", "old_password": "p", "q": ["1", "2"], "ö": "ü"}, doseq=True).encode()
    assert send("/käse", "a=1&a=2&token=t&empty=", body, f"{FORM.upper()}; charset=utf-8") == body
    event = request_event(emitted_events)
    assert (event.name, event.context["path"]) == ("/käse", "/shop/käse")
    assert event.data == {
        "GET": {"a": ["1", "2"], "token": ["********"], "empty": [""]},
        "POST": {"password": ["********"], "old_password": ["********"], "q": ["1", "2"], "ö": ["ü"]},
    }


@pytest.mark.parametrize(
    ("body", "type_"),
    [(b'{"password": "p"}', "application/json"), (b"a=" + b"x" * 70_000, FORM), (b"--b", "multipart/form-data")],
    ids=["json", "large", "files"],
)
def test_every_other_body_is_left_alone(emitted_events: Captured, send: Send, body: bytes, type_: str) -> None:
    assert send("/pay", "", body, type_) == body
    assert request_event(emitted_events).data == {"GET": {}, "POST": {}}


def test_a_long_request_is_valid_and_short(emitted_events: Captured, send: Send) -> None:
    query = "&".join(f"k{n}={'v' * 200}" for n in range(300)) + "&last=" + "%FF" * 5_000
    send("/pay", query)
    event = request_event(emitted_events)
    assert isinstance(event.data, dict)
    assert len(event.data["GET"]) == 200
    emitted_events.clear()
    send("/" + "x" * 300, "v=" + "%C3%BC" * 5_000 + "%FF\x00")
    event = request_event(emitted_events)
    assert (event.name, event.data) == (("/" + "x" * 300)[:255], {"GET": {"v": ["ü" * 1_000]}, "POST": {}})


def test_it_is_off_by_default_and_some_paths_are_ignored(emitted_events: Captured, send: Send) -> None:
    send("/pay", request_events=False)
    send("/event")
    send("/static/logo.svg", ignore_paths=["^/static/"])
    assert set(emitted_events.names) == {"shop.seen"}
    emitted_events.clear()
    send("/event", ignore_paths=["^/static/"])
    assert request_event(emitted_events).name == "/event"


def test_a_path_of_odd_characters_is_a_name(emitted_events: Captured, send: Send) -> None:
    send("/a\x00\n")
    assert request_event(emitted_events).name == "/a??"


@pytest.mark.parametrize("length", ["", "-1", "3.5", "9" * 5_000])
def test_a_length_that_is_no_number_costs_no_request(emitted_events: Captured, length: str) -> None:
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/pay", "CONTENT_TYPE": FORM, "CONTENT_LENGTH": length}
    app = wsgi.DispatcherMiddleware(lambda environ, start_response: [b"ok"], request_events=True)
    assert app(environ, None) == [b"ok"]
    assert emitted_events.one("/pay").data == {"GET": {}, "POST": {}}


def test_a_client_that_has_gone_is_left_to_the_app(emitted_events: Captured) -> None:
    class Broken(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            raise ConnectionResetError

    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/pay", "CONTENT_TYPE": FORM, "CONTENT_LENGTH": "3"}
    app = wsgi.DispatcherMiddleware(lambda environ, _: [environ["wsgi.input"].read(3)], request_events=True)
    with pytest.raises(ConnectionResetError):
        app({**environ, "wsgi.input": Broken()}, None)

    received: list[Any] = []

    async def gone() -> Any:
        return {"type": "http.disconnect"}

    async def look(scope: Any, receive: Any, send: Any) -> None:
        received.append(await receive())

    headers = [(b"content-type", FORM.encode()), (b"content-length", b"3")]
    scope = {"type": "http", "method": "POST", "path": "/pay", "query_string": b"", "headers": headers}
    asyncio.run(asgi.DispatcherMiddleware(look, request_events=True)(scope, gone, None))  # type: ignore[arg-type]
    assert received == [{"type": "http.disconnect"}]
    assert emitted_events.names == ["/pay", "/pay"]


@pytest.mark.parametrize("middleware", [asgi.DispatcherMiddleware, wsgi.DispatcherMiddleware], ids=["asgi", "wsgi"])
@pytest.mark.parametrize(
    ("given", "error", "words"),
    [("^/x", TypeError, "not a text"), (["("], ValueError, "cannot be compiled"), ([7], TypeError, "ignore_paths")],
    ids=["a text", "broken", "a number"],
)
def test_wrong_patterns_stop_the_start(middleware: Any, given: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        middleware(None, ignore_paths=given)
