"""Loop disk: a file system in a file, and what a power cut at a given time would leave of it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Final, Self

from tests.faults.case import NotHereError
from tests.support.waiting import wait_for

_SIZE_MIB: Final = 128
# Attempts to read the file twice without a change. It is synced every 0.2 s or less often, and a read takes a few ms.
_ATTEMPTS: Final = 500

#: The contents of a file: pieces with their offsets. The rest is zeros.
Image = list[tuple[int, bytes]]


class LoopDisk:
    """An ext4 file system, mounted from a file that only has what was synced or written back by the system.

    Args:
        directory: Where it is mounted; is created.

    Raises:
        NotHereError: On entering, if nothing can be mounted on this machine.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._numbers = count()
        self._file = self._next_file()
        self._is_mounted = False

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True)
        with self._file.open("wb") as file:
            file.truncate(_SIZE_MIB << 20)
        # With a small journal, so that a read of the file is fast.
        _run("mkfs.ext4", "-q", "-J", "size=4", str(self._file))
        self._mount()
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_mounted:
            # Lazily, since a process that did not end may still have files open.
            subprocess.run(["umount", "--lazy", str(self.directory)], check=True)
        self._file.unlink(missing_ok=True)

    def image(self) -> Image:
        """The contents of the file at one time, while processes go on writing.

        The file may change during a read, so it is read until two reads agree.
        """
        before = _read(self._file)
        for _ in range(_ATTEMPTS):
            found = _read(self._file)
            if found == before:
                return found
            before = found
        raise AssertionError(f"{self._file} changed during every one of {_ATTEMPTS} reads")

    def come_back(self, image: Image) -> None:
        """Replace the contents by an image, once no process uses them. ext4 repairs it with its journal."""
        wait_for(self._unmount, what=f"{self.directory} to be unmounted")
        self._file.unlink()
        self._file = self._next_file()
        with self._file.open("wb") as file:
            file.truncate(_SIZE_MIB << 20)
            for offset, piece in image:
                os.pwrite(file.fileno(), piece, offset)
        self._mount()

    def _next_file(self) -> Path:
        return self.directory.with_name(f"{self.directory.name}-{next(self._numbers)}.ext4")

    def _mount(self) -> None:
        # The kernel chooses a loop device, and releases it at the unmount.
        _run("mount", "-t", "ext4", "-o", "loop", str(self._file), str(self.directory))
        self._is_mounted = True

    def _unmount(self) -> bool:
        done = subprocess.run(["umount", str(self.directory)], capture_output=True, check=False)
        self._is_mounted = done.returncode != 0
        return not self._is_mounted


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise NotHereError(f"{command[0]} is not installed: apt-get install e2fsprogs mount") from None
    if done.returncode != 0:
        raise NotHereError(f"needs root and loop devices: {done.stderr.strip()}")


def _read(path: Path) -> Image:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return [(start, os.pread(fd, end - start, start)) for start, end in _written(fd)]
    finally:
        os.close(fd)


def _written(fd: int) -> Iterator[tuple[int, int]]:
    """The start and end of each part of a sparse file that has data."""
    end, size = 0, os.fstat(fd).st_size
    while end < size:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError:  # ENXIO: the rest is a hole
            return
        end = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, end
