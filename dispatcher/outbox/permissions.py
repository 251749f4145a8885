"""Permissions: who may read what is made in an outbox directory."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def pass_on_group(made: int | Path, directory: Path) -> None:
    """Give a new file or directory the group rights of its directory, if that has the set-group-id bit.

    With that bit the system has given it the directory's group already (inode(7)). An operator who sets the bit and
    group rights on the outbox directory so lets a group count what waits in it. Without the bit nothing changes: only
    the user who emits has rights. Neither the process's umask nor other users' rights matter. Two system calls at most;
    safe in threads.

    Args:
        made: A file's descriptor, or the path of a directory, that only its owner has rights to.
        directory: The directory that it is in.

    Raises:
        OSError: It was removed, or belongs to another user.
    """
    mode = os.stat(directory).st_mode
    group = mode & stat.S_IRWXG
    if not mode & stat.S_ISGID or not group:
        return
    if isinstance(made, int):
        os.fchmod(made, 0o600 | group & ~stat.S_IXGRP)
    else:
        os.chmod(made, stat.S_ISGID | 0o700 | group)


def file_in_the_way(directory: Path) -> Path | None:
    """The file that has the name of a directory to be made, or of one above it; None without one."""
    there = next((path for path in (directory, *directory.parents) if os.path.lexists(path)), None)
    return None if there is None or os.path.isdir(there) else there
