"""Disk: on which file system a path lies, how much room there is, and who may read it. Changes nothing.

Asked of os.path rather than of Path, which raises where this user may not look into a directory.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_MOUNTS: Final = Path("/proc/mounts")
# How /proc/mounts writes blanks and the like inside a path.
_OCTAL: Final = re.compile(r"\\([0-7]{3})")

#: File systems on other machines: their locks and their memory maps do not hold what a local one's do.
REMOTE: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "ocfs2", "gfs2"}
    | {"fuse.sshfs", "fuse.s3fs", "fuse.ceph", "fuse.glusterfs"}
)
#: File systems in memory: empty after a restart of the machine.
IN_MEMORY: Final = frozenset({"tmpfs", "ramfs"})
#: The writable layer of a container: gone with the container.
LAYERED: Final = frozenset({"overlay", "aufs"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a file system has left for this user. ``free_files`` is None where it has no fixed number of them."""

    free_bytes: int
    total_bytes: int
    free_files: int | None

    @property
    def free_share(self) -> float:
        """From 0 to 1."""
        return self.free_bytes / self.total_bytes if self.total_bytes else 0.0


def existing(path: Path) -> Path:
    """The path, or the nearest directory above it that is there."""
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return path


def room(path: Path) -> Room:
    """The room on the file system where the path lies, or would lie. Raises OSError."""
    found = os.statvfs(existing(path))
    return Room(
        free_bytes=found.f_bavail * found.f_frsize,
        total_bytes=found.f_blocks * found.f_frsize,
        free_files=found.f_favail if found.f_files else None,
    )


def file_system(path: Path, mounts: str | None = None) -> str:
    """The type of the file system where the path lies, such as ext4; empty where it is not known.

    Args:
        mounts: The text of /proc/mounts; read from there when None.
    """
    if mounts is None:
        try:
            mounts = _MOUNTS.read_text()
        except OSError:
            return ""
    place = Path(os.path.realpath(existing(path)))
    found, longest = "", -1
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) < 3:
            continue
        mounted = Path(_OCTAL.sub(lambda octal: chr(int(octal[1], 8)), fields[1]))
        # The last of several mounts on one place is the one that is seen.
        if place.is_relative_to(mounted) and len(mounted.parts) >= longest:
            found, longest = fields[2], len(mounted.parts)
    return found


def mode(path: Path) -> int | None:
    """The permission bits; None where there is no such file or it cannot be seen."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None


def can_write(path: Path) -> bool:
    """Whether this user may write the file, or make it and the directories above it."""
    place = existing(path)
    if place == path and not os.path.isdir(path):
        return os.access(path, os.W_OK)
    return os.path.isdir(place) and os.access(place, os.W_OK | os.X_OK)


def size_text(size: float) -> str:
    """A number of bytes for people."""
    for unit in ("bytes", "KB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:,.1f} GB"
