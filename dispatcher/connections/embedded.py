"""Embedded: the address of the Redis that ``dispatcher up`` runs, one for each state directory, and whose it is."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from pathlib import Path
from typing import Final
from urllib.parse import quote

from dispatcher.errors import UntrustedSocketError

#: The file name of its socket, and of no other socket: what is connected to under this name is checked.
SOCKET_NAME: Final = "embedded.sock"

# What the kernel takes for the path of a socket, less the zero at its end: Linux 108 bytes, macOS and the BSDs 104.
_MAX_SOCKET_PATH: Final = 103
# The name of the directory below the temporary one.
_TEMPORARY: Final = re.compile(r"dispatcher-\d{1,10}-[0-9a-f]{16}")
_ELSEWHERE: Final = "set DISPATCHER_STATE_DIRECTORY to a directory of your own with a shorter path"


def embedded_url(state_directory: Path) -> str:
    """The broker URL of the embedded Redis that belongs to a state directory, whose characters it escapes."""
    return f"redis+socket://{quote(str(socket_path(state_directory)))}"


def socket_path(state_directory: Path) -> Path:
    """The path of its socket, in the state directory.

    Where that is too long for a socket, or not UTF-8, which a URL has to be, it is in the system's temporary directory,
    below a directory that only this user can enter. Makes neither.
    """
    path = state_directory / SOCKET_NAME
    if _fits(path):
        return path
    digest = hashlib.sha256(os.fsencode(state_directory)).hexdigest()[:16]
    name = f"dispatcher-{os.geteuid()}-{digest}"
    # TMPDIR can be as long as any other path.
    path = Path(tempfile.gettempdir()) / name / SOCKET_NAME
    return path if _fits(path) else Path("/tmp") / name / SOCKET_NAME  # noqa: S108 - only this user can enter it


def make_socket_directory(state_directory: Path) -> Path:
    """Make the directory of the socket, for this user only, and check that it is. Returns the socket's path.

    Raises:
        UntrustedSocketError: Somebody else has made it, or others can write to it.
        OSError: It cannot be made.
    """
    path = socket_path(state_directory)
    if path.parent == state_directory:
        state_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    else:
        try:
            path.parent.mkdir(mode=0o700)
        except FileExistsError:
            _check_private(path.parent)
    return path


def check_socket(path: Path) -> None:
    """Refuse an embedded Redis that may be another user's. Called before each connection; passes other sockets.

    Whoever is first can put a socket where this one is expected, if the directory lets them: below the temporary
    directory all users can. So the directory there has to be ours and closed to others; then nobody else can change
    what is in it, and what was checked is what is connected to.

    Args:
        path: The socket's.

    Raises:
        UntrustedSocketError: It belongs to another user, or others could replace it; says what to do.
        OSError: It does not exist, or cannot be looked at.
    """
    if path.name != SOCKET_NAME:
        return
    # kombu's has two slashes at its beginning.
    path = Path("/", str(path).lstrip("/"))
    directory = path.parent
    if _TEMPORARY.fullmatch(directory.name):
        _check_private(directory)
    status, around = path.lstat(), directory.stat()
    # Root may look into everybody's, if the socket is of the one whose directory it is in.
    trusted = {0, os.geteuid(), *([around.st_uid] if os.geteuid() == 0 else ())}
    if not stat.S_ISSOCK(status.st_mode):
        raise UntrustedSocketError(f"{path} is not a socket: remove it, and start `dispatcher up` again")
    if status.st_uid not in trusted:
        raise UntrustedSocketError(
            f"the embedded Redis at {path} belongs to the user {status.st_uid}, not to {os.geteuid()}, and would get "
            "this user's events: run all parts as one user, or set DISPATCHER_BROKER_URL to a Redis for all of them"
        )
    if around.st_mode & stat.S_IWOTH and not around.st_mode & stat.S_ISVTX:
        raise UntrustedSocketError(f"every user can replace the embedded Redis at {path}: run `chmod o-w {directory}`")


def _check_private(directory: Path) -> None:
    # As a link, it could lead to a directory of ours today and to another one tomorrow.
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise UntrustedSocketError(
            f"{directory}, where the socket of the embedded Redis belongs, was made by another user: {_ELSEWHERE}"
        )
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise UntrustedSocketError(f"other users can enter {directory}: run `chmod 700 {directory}`")


def _fits(path: Path) -> bool:
    try:
        return len(str(path).encode()) <= _MAX_SOCKET_PATH
    except UnicodeEncodeError:
        return False
