"""The context of a request, without any framework."""

from __future__ import annotations

from typing import Any

import pytest

from dispatcher.contrib import asgi, wsgi
from dispatcher.contrib.request_context import RequestContext, hash_session
from dispatcher.monitoring.otel.traceparent import KEY
from dispatcher.request.client_id import client_id_of


def make(context: RequestContext | None = None, **headers: str) -> dict[str, Any]:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return (context or RequestContext()).make(peer="127.0.0.1", path="/a", headers=names)


def test_the_hash_of_a_session_is_the_one_of_edx() -> None:
    secret, key = "85920908f28904ed733fe576320db18cabd7b6cd", "665924b49a93e22b46ee9365abf28c2a"
    assert hash_session(key, secret) == "b4103566fc80d20da1970cbb4380bccd"


def test_a_session_is_bound_by_its_hash_where_its_cookie_is_named() -> None:
    assert make(cookie="sid=abc")["session"] == ""
    assert make(RequestContext(session_cookie="sid"), cookie="a=b; sid=abc")["session"] == hash_session("abc")
    assert make(RequestContext(session_cookie="sid"), cookie="a=b")["session"] == ""


@pytest.mark.parametrize(
    ("cookie", "client_id"),
    [
        ("GA1.2.1033501218.1368477899", "1033501218.1368477899"),
        ("GA1.1-2.10.20", "10.20"),
        ("GA1.2.1033501218", None),
        ("", None),
        ("x", None),
        ("GA1.2." + "9" * 200 + ".1", None),
        ("GA1.2.\x00.1", None),
    ],
)
def test_the_client_id_is_that_of_google_analytics(cookie: str, client_id: str | None) -> None:
    assert client_id_of({"_ga": cookie}) == client_id


def test_a_header_that_no_browser_sends_is_cut() -> None:
    assert len(make(user_agent="x" * 60_000)["agent"]) == 4_096


def test_a_proxy_is_believed_where_it_is_listed() -> None:
    assert make(x_forwarded_for="192.0.2.1")["ip"] == "127.0.0.1"
    assert make(RequestContext(proxies=["127.0.0.0/8"]), x_forwarded_for="192.0.2.1")["ip"] == "192.0.2.1"


def test_proxies_are_networks() -> None:
    with pytest.raises(TypeError, match=r'\["10.0.0.0/8"\]'):
        RequestContext(proxies="10.0.0.0/8")
    with pytest.raises(ValueError, match="nonsense"):
        RequestContext(proxies=["nonsense"])


@pytest.mark.parametrize("context", [lambda: {"a": 1}, lambda request, answer: {}, "shop.context_of", {}])
def test_a_hook_that_no_request_can_be_given_to_is_refused(context: Any) -> None:
    for middleware in (asgi.DispatcherMiddleware, wsgi.DispatcherMiddleware):
        with pytest.raises(TypeError, match=r"^context: (it must be a function of one argument|\w+ cannot be called)"):
            middleware(lambda *_: None, context=context)


@pytest.mark.parametrize("context", [lambda scope: {}, lambda scope, more=1: {}, lambda *given: {}, dict])
def test_a_hook_that_takes_a_request_is_taken(context: Any) -> None:
    for middleware in (asgi.DispatcherMiddleware, wsgi.DispatcherMiddleware):
        middleware(lambda *_: None, context=context)


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    return


def wsgi_app(environ: Any, start_response: Any) -> list[bytes]:
    return []


@pytest.mark.parametrize(
    ("middleware", "app", "other"),
    [
        (wsgi.DispatcherMiddleware, asgi_app, "contrib.asgi"),
        (wsgi.DispatcherMiddleware, asgi.DispatcherMiddleware(asgi_app), "contrib.asgi"),
        (asgi.DispatcherMiddleware, wsgi_app, "contrib.wsgi"),
        (asgi.DispatcherMiddleware, wsgi.DispatcherMiddleware(wsgi_app), "contrib.wsgi"),
    ],
    ids=["ASGI app", "ASGI middleware", "WSGI app", "WSGI middleware"],
)
def test_an_app_of_the_other_interface_is_refused(middleware: Any, app: Any, other: str) -> None:
    with pytest.raises(TypeError, match=f"its middleware is that of dispatcher.{other}"):
        middleware(app)


def test_the_trace_of_a_request_is_bound_where_traces_are_on(monkeypatch: pytest.MonkeyPatch) -> None:
    header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    plain = make(traceparent=header)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318")

    assert make(RequestContext(), traceparent=header) == {**plain, KEY: header}
    assert make(RequestContext(), traceparent=f"{header[:-1]}0") == plain
    assert make(RequestContext()) == plain
