"""Where a user is bound so that an endpoint of FastAPI has it: in middleware and ``async def``, not in plain ``def``.

Starlette runs what is no coroutine in a thread, with a copy of the context: what is bound there is bound in the copy.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import pytest

from dispatcher import tracker
from dispatcher.testing import Captured

fastapi = pytest.importorskip("fastapi")
Depends = fastapi.Depends


def current_user() -> int:
    return 42


def bound_in_def(user: Annotated[int, Depends(current_user)]) -> None:
    tracker.enter_context("user", {"user_id": user})


def bound_in_def_with_yield(user: Annotated[int, Depends(current_user)]) -> Iterator[None]:
    with tracker.context("user", {"user_id": user}):
        yield


async def bound_in_async_def(user: Annotated[int, Depends(current_user)]) -> AsyncIterator[None]:
    with tracker.context("user", {"user_id": user}):
        yield


async def request(app: Any, path: str) -> int:
    """Ask the app as a server does, and return the status."""
    sent: list[dict[str, Any]] = []
    received = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> dict[str, Any]:
        found = next(received, None)
        if found is None:
            await asyncio.sleep(60)
        return found or {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [],
        "root_path": "",
        "client": ("192.0.2.7", 1),
        "server": ("shop", 80),
    }
    await app(scope, receive, send)
    return int(sent[0]["status"])


def make_app(dependency: Any) -> Any:
    app = fastapi.FastAPI()

    def in_def() -> None:
        tracker.emit("shop.order.paid", {"endpoint": "def"})

    async def in_async_def() -> None:
        tracker.emit("shop.order.paid", {"endpoint": "async def"})

    for path, endpoint in (("/def", in_def), ("/async", in_async_def)):
        app.add_api_route(path, endpoint, dependencies=[Depends(dependency)])
    return app


@pytest.mark.parametrize(
    ("dependency", "expected"),
    [(bound_in_def, {}), (bound_in_def_with_yield, {}), (bound_in_async_def, {"user_id": 42})],
)
@pytest.mark.parametrize("path", ["/def", "/async"])
def test_only_an_async_dependency_binds_for_the_endpoint(
    emitted_events: Captured, dependency: Any, expected: dict[str, Any], path: str
) -> None:
    app = make_app(dependency)

    async def ask() -> None:
        for _ in range(2):
            assert await request(app, path) == 200
        # Nothing of a request is left for what comes after it.
        tracker.emit("shop.afterwards")

    asyncio.run(ask())
    paid = emitted_events.named("shop.order.paid")
    assert [event.context for event in paid] == [expected, expected]
    assert emitted_events.one("shop.afterwards").context == {}


def test_requests_at_the_same_time_keep_their_own_users(emitted_events: Captured) -> None:
    app = fastapi.FastAPI()

    async def bind(user: int) -> AsyncIterator[None]:
        with tracker.context("user", {"user_id": user}):
            yield

    def pay(user: int) -> None:
        tracker.emit("shop.order.paid", {"user": user})

    app.add_api_route("/pay/{user}", pay, dependencies=[Depends(bind)])

    async def ask() -> None:
        assert set(await asyncio.gather(*(request(app, f"/pay/{user}") for user in range(20)))) == {200}

    asyncio.run(ask())
    found = emitted_events.named("shop.order.paid")
    assert len(found) == 20
    assert all(event.context == {"user_id": event.data["user"]} for event in found)
