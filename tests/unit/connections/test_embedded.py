"""The embedded Redis is connected to only if it is this user's own: by web apps, relays, workers and commands alike."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from kombu import Connection
from redis.exceptions import ConnectionError as RedisConnectionError

from dispatcher.connections.embedded import (
    SOCKET_NAME,
    check_socket,
    embedded_url,
    make_socket_directory,
    socket_path,
)
from dispatcher.connections.redis_pool import RedisPool
from dispatcher.errors import StoreUnavailableError, UntrustedSocketError
from dispatcher.tasks.transport import Transport

SOMEBODY = 64_000

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can play another user")


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary directory as all users share it. In a short path, or nothing fits into a socket's."""
    with tempfile.TemporaryDirectory() as name:
        shared = Path(name)
        shared.chmod(0o1777)
        monkeypatch.setattr(tempfile, "tempdir", name)
        yield shared


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """A state directory whose path is too long for a socket in it."""
    return tmp_path / ("long" * 30)


@pytest.fixture
def listeners() -> Iterator[list[socket.socket]]:
    opened: list[socket.socket] = []
    yield opened
    for listener in opened:
        listener.close()


def listen(path: Path, listeners: list[socket.socket], owner: int | None = None) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listeners.append(listener)
    listener.bind(str(path))
    listener.listen()
    if owner is not None:
        os.chown(path, owner, -1)


def assert_nobody_connects(state: Path, reason: str, listeners: list[socket.socket]) -> None:
    url = embedded_url(state)
    pool = RedisPool(url, timeout_seconds=1)
    with pytest.raises(StoreUnavailableError, match=reason):
        pool.execute("PING")
    pool.close()
    with Connection(url, transport_options={"max_retries": 0, "socket_timeout": 1}) as connection:
        # As workers and Flower have it.
        connection.transport_cls = Transport
        with pytest.raises(RedisConnectionError, match=reason):
            connection.channel()
    for listener in listeners:
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


@as_root
def test_a_directory_that_another_user_made_first_is_refused(
    shared: Path, deep: Path, listeners: list[socket.socket]
) -> None:
    path = socket_path(deep)
    assert path.is_relative_to(shared)
    path.parent.mkdir(mode=0o700)
    listen(path, listeners)
    os.chown(path.parent, SOMEBODY, -1)

    assert_nobody_connects(deep, "was made by another user", listeners)
    with pytest.raises(UntrustedSocketError, match="was made by another user"):
        make_socket_directory(deep)


def test_a_link_in_place_of_the_directory_is_refused(
    shared: Path, deep: Path, tmp_path: Path, listeners: list[socket.socket]
) -> None:
    own = shared / "own"
    own.mkdir(mode=0o700)
    listen(own / SOCKET_NAME, listeners)
    socket_path(deep).parent.symlink_to(own)

    assert_nobody_connects(deep, "was made by another user", listeners)
    with pytest.raises(UntrustedSocketError):
        make_socket_directory(deep)


def test_a_directory_that_others_can_enter_is_refused(shared: Path, deep: Path, listeners: list[socket.socket]) -> None:
    path = make_socket_directory(deep)
    listen(path, listeners)
    path.parent.chmod(0o711)

    assert_nobody_connects(deep, "chmod 700", listeners)


@as_root
def test_a_socket_of_another_user_is_refused(shared: Path, listeners: list[socket.socket]) -> None:
    state = shared / "state"
    state.mkdir()
    listen(socket_path(state), listeners, owner=SOMEBODY)

    assert_nobody_connects(state, f"belongs to the user {SOMEBODY}", listeners)


def test_a_socket_that_every_user_can_replace_is_refused(shared: Path, listeners: list[socket.socket]) -> None:
    state = shared / "state"
    state.mkdir()
    listen(socket_path(state), listeners)
    state.chmod(0o777)

    assert_nobody_connects(state, "every user can replace", listeners)


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_is_not_a_socket_is_refused(shared: Path, kind: str, listeners: list[socket.socket]) -> None:
    state = shared / "state"
    state.mkdir()
    listen(shared / "elsewhere", listeners)
    if kind == "link":
        socket_path(state).symlink_to(shared / "elsewhere")
    else:
        socket_path(state).touch()

    assert_nobody_connects(state, "is not a socket", listeners)


def test_a_socket_in_a_directory_of_ones_own_is_taken(shared: Path, deep: Path, listeners: list[socket.socket]) -> None:
    for state in (deep, shared / "state"):
        path = make_socket_directory(state)
        assert make_socket_directory(state) == path
        assert path.parent.stat().st_mode & 0o777 == 0o700
        with pytest.raises(FileNotFoundError):
            check_socket(path)
        listen(path, listeners)
        check_socket(path)


def test_a_socket_that_the_settings_name_is_theirs_to_choose(shared: Path) -> None:
    check_socket(shared / "redis.sock")
