"""The ASGI middleware, called as a server does."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from dispatcher import tracker
from dispatcher.contrib.asgi import DispatcherMiddleware
from dispatcher.emit.context import EMPTY, current
from dispatcher.testing import Captured


async def app(scope: Any, receive: Any, send: Any) -> None:
    tracker.emit("shop.seen", {"type": scope["type"]})


def call(
    middleware: DispatcherMiddleware, type_: str = "http", headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    async def play() -> None:
        scope = {"type": type_, "path": "/a", "headers": headers or [], "client": ("192.0.2.7", 1)}
        await middleware(scope if type_ != "lifespan" else {"type": type_}, None, None)  # type: ignore[arg-type]
        assert current() is EMPTY

    asyncio.run(play())


@pytest.mark.parametrize("type_", ["http", "websocket"])
def test_a_request_has_a_context(emitted_events: Captured, type_: str) -> None:
    call(DispatcherMiddleware(app), type_, [(b"user-agent", b"curl"), (b"cookie", b"a=1"), (b"cookie", b"_ga=G.1.2.3")])
    context = emitted_events.one("shop.seen").context
    assert (context["ip"], context["path"], context["agent"], context["client_id"]) == (
        "192.0.2.7",
        "/a",
        "curl",
        "2.3",
    )


def test_the_start_of_the_server_has_none(emitted_events: Captured) -> None:
    call(DispatcherMiddleware(app), "lifespan")
    assert emitted_events.one("shop.seen").context == {}


def test_an_app_that_raises_leaves_nothing_bound() -> None:
    async def fail(scope: Any, receive: Any, send: Any) -> None:
        raise KeyError("x")

    async def play() -> None:
        with pytest.raises(KeyError):
            await DispatcherMiddleware(fail)({"type": "http", "path": "/", "headers": []}, None, None)  # type: ignore[arg-type]
        assert current() is EMPTY

    asyncio.run(play())


async def _wait_and_raise(scope: Any) -> dict[str, Any]:
    await asyncio.sleep(0)
    raise KeyError("a secret")


@pytest.mark.parametrize(
    "hook",
    [lambda scope: 1 / 0, _wait_and_raise, lambda scope: ["user_id"], lambda scope: "7"],
    ids=["raises", "raises later", "a list", "a text"],
)
def test_a_hook_that_fails_costs_no_request(
    emitted_events: Captured, caplog: pytest.LogCaptureFixture, hook: Any
) -> None:
    middleware = DispatcherMiddleware(app, context=hook)
    with caplog.at_level(logging.WARNING):
        call(middleware)
        call(middleware)
    assert len(emitted_events.events) == 2
    assert len(caplog.records) == 1
    assert "secret" not in caplog.text


def test_a_hook_says_who_it_is(emitted_events: Captured) -> None:
    call(DispatcherMiddleware(app, context=lambda scope: {"user_id": 7}))
    call(DispatcherMiddleware(app, context=lambda scope: None))
    assert [event.context["user_id"] for event in emitted_events.events] == [7, ""]
