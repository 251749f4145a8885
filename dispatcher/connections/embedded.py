"""Embedded: the address of the Redis that ``dispatcher up`` runs, one for each state directory."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Final

# The kernel takes 108 bytes for the path of a socket, with the zero at its end.
_MAX_SOCKET_PATH: Final = 107


def embedded_url(state_directory: Path) -> str:
    """The broker URL of the embedded Redis that belongs to a state directory."""
    return f"redis+socket://{socket_path(state_directory)}"


def socket_path(state_directory: Path) -> Path:
    """The path of its socket, in the state directory.

    Where that is too long for a socket, it is in the system's temporary directory, below a directory that only this
    user can enter. Makes neither.
    """
    path = state_directory / "redis.sock"
    if len(os.fsencode(path)) <= _MAX_SOCKET_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(state_directory)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"dispatcher-{os.getuid()}-{digest}" / "redis.sock"
