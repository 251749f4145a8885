"""Every test gets its own state directory, settings and default tracker."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from dispatcher import tracker
from dispatcher.emit import context
from tests.support.redis_server import RedisServer
from tests.support.server_programs import program_of, server_programs
from tests.support.site import Site, open_site

# The time of an example depends more on the load of the machine than on the code.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The state directory of the test. No settings of the developer's machine reach it."""
    for name in [name for name in os.environ if name.upper().startswith("DISPATCHER_")]:
        monkeypatch.delenv(name)
    state = tmp_path / "state"
    monkeypatch.setenv("DISPATCHER_STATE_DIRECTORY", str(state))
    before = tracker.set_tracker(tracker.Tracker())
    yield state
    tracker.set_tracker(before).close()
    context._bound.set(context.EMPTY)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put short files last: at the end of a run no process waits long for the last file of another.

    Names of tests that differ from process to process would end the whole run, and only where several collect.
    """
    named_by_address = [item.nodeid for item in items if " at 0x" in item.nodeid]
    if named_by_address:
        raise pytest.UsageError(f"give these cases ids of your own: {', '.join(named_by_address)}")
    items.sort(key=lambda item: item.path.parent.name not in ("integration", "faults", "edge", "simulator"))


def pytest_collection_finish() -> None:
    # What thousands of tests consist of stays: to look through it again and again took a tenth of their time.
    gc.collect()
    gc.freeze()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what is marked ``every_server`` on each server that this machine has."""
    if metafunc.definition.get_closest_marker("every_server") is None:
        return
    # In one order, so that all processes of a run collect the same; and a test of two servers has two of one kind.
    fixtures = [name for name in ("server", "redis_server", "secured", "cluster") if name in metafunc.fixturenames]
    programs = server_programs()
    if fixtures:
        each = [(program,) * len(fixtures) for program in programs]
        metafunc.parametrize(fixtures, each, indirect=True, ids=[str(program) for program in programs])


@pytest.fixture
def redis_server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A Redis for this test alone."""
    with RedisServer(program=program_of(request)) as server:
        yield server


@pytest.fixture
def site(tmp_path: Path, redis_server: RedisServer) -> Iterator[Site]:
    """A site for this test alone: Redis and the Segment stub run; the test starts workers and relays."""
    with open_site(tmp_path, redis_server) as site:
        yield site


@pytest.fixture
def nothing_kept(site: Site) -> None:
    """The site deletes outboxes as soon as they are put. tests/integration/test_kept_journals.py has the default."""
    site.environ["DISPATCHER_OUTBOX__KEEP_BYTES"] = "0"


@pytest.fixture
def in_site(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The site, with its settings in this process's environment, so that the test itself can emit."""
    for name, value in site.environ.items():
        if name.startswith("DISPATCHER_"):
            monkeypatch.setenv(name, value)
    return site


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name binary arguments by their size: what is compressed holds the time, and the tests' names must not."""
    return f"{len(val)} bytes" if isinstance(val, bytes) and not val.decode("latin-1").isprintable() else None
