"""Fixtures that several integration tests share; a module may define its own with the same name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from dispatcher.connections.redis_pool import RedisPool
from tests.support.clock import Clock
from tests.support.open_store import OpenStore
from tests.support.redis_server import RedisServer
from tests.support.server_programs import program_of

if TYPE_CHECKING:
    from tests.support.browser import Browser
    from tests.support.events_site import EventsSite


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A Redis that the tests of one module share."""
    with RedisServer(program=program_of(request)) as server:
        yield server


@pytest.fixture
def clock() -> Clock:
    """The clock of the store."""
    return Clock()


@pytest.fixture
def store(server: RedisServer, clock: Clock) -> Iterator[OpenStore]:
    """An empty batch store, whose ledgers must close at the end of the test."""
    server.call("FLUSHALL")
    pool = RedisPool(server.url, timeout_seconds=30)
    store = OpenStore(pool, clock=clock)
    yield store
    assert all(counts.closes for counts in store.counts(["tracking_log", "segment"]).values())
    pool.close()


@pytest.fixture(scope="module")
def driven() -> Iterator[Browser]:
    """A Chromium that the tests of one module share."""
    # Here, since most modules need no Selenium.
    from tests.support.browser import Browser

    with Browser() as browser:
        yield browser


@pytest.fixture
def web() -> Iterator[EventsSite]:
    """A site with a collector of its own. Each has its own port, so that its pages' storage is empty."""
    from tests.support.events_site import EventsSite

    with EventsSite() as site:
        yield site
