"""Disk: the file system of a path, its free room, and who may read and write there. Changes nothing.

Uses os.path rather than Path, which raises if this user may not look into a directory.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dispatcher.process import system_calls

# How /proc/mounts writes blanks and other special characters in a path.
_OCTAL: Final = re.compile(r"\\([0-7]{3})")

#: File systems on other machines: their locks and memory maps do not guarantee what those of a local one do.
REMOTE: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "ocfs2", "gfs2"}
    | {"fuse.sshfs", "fuse.s3fs", "fuse.ceph", "fuse.glusterfs", "afpfs", "webdav"}
)
#: File systems in memory: empty after a restart of the machine.
IN_MEMORY: Final = frozenset({"tmpfs", "ramfs"})
#: The writable layer of a container, which is deleted with it.
LAYERED: Final = frozenset({"overlay", "aufs"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a file system has left for this user.

    Args:
        free_bytes: What this user may still write.
        total_bytes: Its size.
        free_files: How many more files it takes; None if their number has no limit.
    """

    free_bytes: int
    total_bytes: int
    free_files: int | None

    @property
    def free_fraction(self) -> float:
        """The free fraction, from 0 to 1."""
        return self.free_bytes / self.total_bytes if self.total_bytes else 0.0


def nearest_existing(path: Path) -> Path:
    """The path, or the nearest directory above it that exists."""
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return path


def free_room(path: Path) -> Room:
    """The room on the file system where the path is, or would be. Raises OSError."""
    status = os.statvfs(nearest_existing(path))
    return Room(
        free_bytes=status.f_bavail * status.f_frsize,
        total_bytes=status.f_blocks * status.f_frsize,
        free_files=status.f_favail if status.f_files else None,
    )


def file_system_of(path: Path, mounts: str | None = None) -> str:
    """The type of the file system where the path is, such as ext4; empty if it is not known.

    Args:
        path: It need not exist.
        mounts: As in /proc/mounts; those of this machine when None.
    """
    mounts = system_calls.mounts() if mounts is None else mounts
    place = Path(os.path.realpath(nearest_existing(path)))
    file_system, longest = "", -1
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) < 3:
            continue
        mounted = Path(_OCTAL.sub(lambda octal: chr(int(octal[1], 8)), fields[1]))
        # Of several mounts on one directory, the last one is in use.
        if place.is_relative_to(mounted) and len(mounted.parts) >= longest:
            file_system, longest = fields[2], len(mounted.parts)
    return file_system


def permission_bits(path: Path) -> int | None:
    """The permission bits; None if the file does not exist or cannot be seen."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None


def can_write(path: Path) -> bool:
    """Whether this user may write the file, or create it and the directories above it."""
    place = nearest_existing(path)
    if place == path and not os.path.isdir(path):
        return os.access(path, os.W_OK)
    return os.path.isdir(place) and os.access(place, os.W_OK | os.X_OK)
