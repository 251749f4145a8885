"""Disk: a small disk that can be filled and freed, or a limit on the size of files if no disk can be mounted."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Self

from tests.support.processes import Child, child_pids

_SIZE_MIB = 64


class SmallDisk:
    """A tmpfs, which a ballast file fills.

    Args:
        directory: Where it is mounted; is created.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._ballast = directory / ".ballast"
        #: Whether it is a real disk. Otherwise ``fill`` limits the size of files that the processes may write.
        self.is_mounted = False
        self._limited: list[int] = []

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE_MIB}m,mode=0700", "tmpfs", str(self.directory)]
        with suppress(FileNotFoundError):
            self.is_mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
        return self

    def __exit__(self, *_: object) -> None:
        if self.is_mounted:
            subprocess.run(["umount", "--lazy", str(self.directory)], check=True)

    @property
    def kind(self) -> str:
        """What it is, for the notes."""
        return "a full tmpfs" if self.is_mounted else "a limit on the size of files: no disk may be mounted here"

    def fill(self, *, leave: int, processes: Iterable[Child]) -> None:
        """Leave only ``leave`` bytes of space for the processes that write there, and those that they started."""
        if self.is_mounted:
            with self._ballast.open("wb") as file:
                while not self._weigh_down(file.fileno(), leave=leave):
                    pass
            return
        sizes = [path.stat().st_size for path in self.directory.rglob("*") if path.is_file()]
        for pid in (pid for child in processes for pid in (child.pid, *child_pids(child.pid))):
            _limit(pid, max(sizes, default=0) + leave)
            self._limited.append(pid)

    def _weigh_down(self, ballast: int, *, leave: int) -> bool:
        """Take the rest of the space. Returns False if other writers have taken some of it meanwhile."""
        status = os.statvfs(self.directory)
        try:
            os.posix_fallocate(ballast, 0, status.f_bavail * status.f_frsize - leave)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            os.ftruncate(ballast, 0)
            return False
        return True

    def free(self) -> None:
        """Give the space back."""
        if self.is_mounted:
            self._ballast.unlink()
        for pid in self._limited:
            with suppress(ProcessLookupError):
                _limit(pid, resource.RLIM_INFINITY)


def _limit(pid: int, size: int) -> None:
    # Only the soft limit, since only root can raise the hard one again. Python ignores SIGXFSZ.
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
