"""Loop disk: a file system in a file, and what a power cut would leave of it at a moment of its use."""

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
# Looks at the file until two agree. Syncs come every 0.2 s and more, and a look takes a few milliseconds.
_LOOKS: Final = 500

#: What a file holds: pieces with their offsets, the rest is zeros.
Image = list[tuple[int, bytes]]


class LoopDisk:
    """An ext4 of its own, mounted from a file. What was not synced, or written back by the system, is not in the file.

    Args:
        directory: Where it is mounted; made.

    Raises:
        NotHereError: On entering: nothing can be mounted here.
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
        # A small log of its own, so that there is not much to read at each look.
        _here("mkfs.ext4", "-q", "-J", "size=4", str(self._file))
        self._mount()
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_mounted:
            # Lazily, since a process that did not end may still have something open.
            subprocess.run(["umount", "--lazy", str(self.directory)], check=True)
        self._file.unlink(missing_ok=True)

    def image(self) -> Image:
        """What the file holds at one moment, while all goes on.

        A read takes a while, in which it may change: so it is read until nothing has changed from one time to the next.
        """
        before = _read(self._file)
        for _ in range(_LOOKS):
            found = _read(self._file)
            if found == before:
                return found
            before = found
        raise AssertionError(f"{self._file} never stood still for as long as it takes to read it")

    def come_back(self, image: Image) -> None:
        """Put an image in the place of what is there, once nobody uses it any more. ext4 mends it by its log."""
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
        # The loop device is the kernel's to choose, and goes with the mount.
        _here("mount", "-t", "ext4", "-o", "loop", str(self._file), str(self.directory))
        self._is_mounted = True

    def _unmount(self) -> bool:
        done = subprocess.run(["umount", str(self.directory)], capture_output=True, check=False)
        self._is_mounted = done.returncode != 0
        return not self._is_mounted


def _here(*command: str) -> None:
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
    """The parts of a sparse file that are no holes."""
    end, size = 0, os.fstat(fd).st_size
    while end < size:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError:  # ENXIO: nothing but a hole is left
            return
        end = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, end
