"""Embedded: the address of the Redis that ``dispatcher up`` runs, one for each state directory."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Final
from urllib.parse import quote

# The kernel takes 108 bytes for the path of a socket, with the zero at its end.
_MAX_SOCKET_PATH: Final = 107


def embedded_url(state_directory: Path) -> str:
    """The broker URL of the embedded Redis that belongs to a state directory, whose characters it escapes."""
    return f"redis+socket://{quote(str(socket_path(state_directory)))}"


def socket_path(state_directory: Path) -> Path:
    """The path of its socket, in the state directory.

    Where that is too long for a socket, or not UTF-8, which a URL has to be, it is in the system's temporary directory,
    below a directory that only this user can enter. Makes neither.
    """
    path = state_directory / "redis.sock"
    if _fits(path):
        return path
    digest = hashlib.sha256(os.fsencode(state_directory)).hexdigest()[:16]
    name = f"dispatcher-{os.getuid()}-{digest}"
    # TMPDIR can be as long as any other path.
    path = Path(tempfile.gettempdir()) / name / "redis.sock"
    return path if _fits(path) else Path("/tmp") / name / "redis.sock"  # noqa: S108 - only this user can enter it


def _fits(path: Path) -> bool:
    try:
        return len(str(path).encode()) <= _MAX_SOCKET_PATH
    except UnicodeEncodeError:
        return False
