"""The embedded Redis: every state directory that a file system takes works, for the store and for Celery alike."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from kombu import Connection

from dispatcher import config
from dispatcher.connections.embedded import embedded_url, socket_path
from dispatcher.connections.redis_pool import RedisPool
from dispatcher.connections.urls import kombu_url
from dispatcher.errors import StoreUnavailableError
from dispatcher.local.redis_server import find_server, server_command
from tests.support.json_lines import read_whole_lines
from tests.support.processes import Processes, assert_none_left
from tests.support.waiting import wait_for

NAMES = [
    *("#", "?", ";", "%41", "%", "a b", "é", "a&b", "'", '"', "+", "@", ":", ",", "\\", "[x]", "=", "~", "\n"),
    "e\u0301",
    "\u65e5\u672c",
    os.fsdecode(b"\xff"),
    "x" * 100,
    "\N{GREEK SMALL LETTER OMEGA}" * 60,
]
ALL_AT_ONCE = "# ?;%41&'\"\N{LATIN SMALL LETTER E WITH ACUTE}[x]"


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory so short that a socket fits into it, whose own name is hostile."""
    directory = Path(tempfile.mkdtemp(prefix="dispatcher-path-"))
    yield directory
    shutil.rmtree(directory)


def answers(pool: RedisPool) -> bool:
    try:
        return bool(pool.execute("PING"))
    except StoreUnavailableError:
        return False


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_any_state_directory_holds_a_redis_that_all_clients_reach(short: Path, name: str) -> None:
    state = short / name
    settings = config.load({"HOME": str(short), "XDG_STATE_HOME": str(short)}, {"state_directory": state})
    assert settings.state_directory == state
    url = settings.broker
    assert url == settings.store == embedded_url(state)
    with subprocess.Popen(
        server_command(find_server(), state), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as server:
        pool = RedisPool(url, timeout_seconds=30)
        try:
            wait_for(lambda: answers(pool), what="Redis to answer")
            pool.execute("SET", "from", "store")
            with Connection(kombu_url(url)) as connection:
                assert connection.default_channel.client.get("from") == b"store"
        finally:
            pool.close()
            server.kill()
    if socket_path(state).parent != state:
        shutil.rmtree(socket_path(state).parent)


def test_a_temporary_directory_that_is_too_long_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/" + "t" * 120)

    assert socket_path(Path("/" + "x" * 120)).parent.parent == Path("/tmp")


def test_up_delivers_from_a_state_directory_with_a_hostile_name(short: Path) -> None:
    state = short / ALL_AT_ONCE
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(short), "DISPATCHER_STATE_DIRECTORY": str(state)}
    processes = Processes(short / "output", environ)
    try:
        up = processes.dispatcher("up", "--no-flower")
        up.wait_for_output("ready:")
        done = processes.run("emit", "shop.order.paid", "--data", '{"n": 1}')
        assert done.returncode == 0, done.stderr
        wait_for(lambda: read_whole_lines(state / "tracking.log"), what=lambda: up.output)
        status = processes.run("status")
        assert (status.returncode, "The sum closes" in status.stdout) == (0, True), status.stderr
        assert up.stop() == 0
    finally:
        processes.close()
        assert_none_left(str(state))
