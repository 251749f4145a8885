"""Rotation: the names of the tracking log's rotated files, which edX's readers expect, and their compression."""

from __future__ import annotations

import fcntl
import gzip
import logging
import os
import re
import shutil
import stat
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from dispatcher.process.system_calls import sync

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

_COPY_BYTES: Final = 1 << 20
# How often a directory is read at most, while files in it get other names.
_LISTINGS: Final = 3


def rotated_path(path: Path, now_seconds: float) -> Path:
    """A free ``NAME-YYYYMMDD-EPOCH`` beside the log, in UTC; with a later second if that name is taken."""
    epoch = int(now_seconds)
    while True:
        rotated = path.with_name(f"{path.name}-{datetime.fromtimestamp(epoch, UTC):%Y%m%d}-{epoch}")
        if not rotated.exists() and not _compressed(rotated).exists():
            return rotated
        epoch += 1


def siblings(path: Path) -> list[Path]:
    """The files beside the log whose names begin with its name, however they were rotated; newest first.

    Files that another process renames, compresses or removes meanwhile are looked for once more, under all names that
    there are then, and left out if they are gone.
    """
    for _ in range(_LISTINGS):
        found = []
        vanished = False
        for entry in os.scandir(path.parent):
            if entry.name.startswith(path.name):
                try:
                    status = entry.stat()
                except FileNotFoundError:
                    vanished = True
                    continue
                if stat.S_ISREG(status.st_mode):
                    found.append((status.st_mtime_ns, entry.name))
        if not vanished:
            break
    return [path.with_name(name) for _, name in sorted(found, reverse=True)]


def open_sibling(path: Path, inode: int) -> int | None:
    """A descriptor, for reading and writing, of the sibling with this inode; None if no sibling has it."""
    for sibling in siblings(path):
        with suppress(FileNotFoundError):  # it was renamed or compressed meanwhile
            if sibling.stat().st_ino == inode:
                return os.open(sibling, os.O_RDWR | os.O_CLOEXEC)
    return None


def compress_rotated(path: Path) -> None:
    """Compress every rotated file of the log that is not compressed, also those that a killed process left half done.

    A file is replaced only by a whole copy. Other processes may do the same at the same time. A file that cannot be
    compressed stays as it is until the next call.
    """
    rotated_name = re.compile(re.escape(path.name) + r"-\d{8}-\d+")
    for rotated in siblings(path):
        if rotated_name.fullmatch(rotated.name):
            try:
                _compress(rotated)
            except FileNotFoundError:
                continue  # Another process has compressed or removed it.
            except OSError as error:
                logger.warning("cannot compress %s, which stays as it is until the next rotation: %s", rotated, error)


def _compress(rotated: Path) -> None:
    partial = rotated.with_name(f".{rotated.name}.gz.partial")
    with rotated.open("rb") as source:
        try:
            fcntl.flock(source, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # Another process is at it.
        if not rotated.exists():
            return  # It was done between the listing and the lock.
        modified_seconds = os.fstat(source.fileno()).st_mtime
        try:
            with open(partial, "wb", opener=_private) as target:
                with gzip.GzipFile(rotated.name, "wb", fileobj=target, mtime=modified_seconds) as copy:
                    shutil.copyfileobj(source, copy, _COPY_BYTES)
                target.flush()
                sync(target.fileno())
            os.utime(partial, (modified_seconds, modified_seconds))
            partial.replace(_compressed(rotated))
        except OSError:
            partial.unlink(missing_ok=True)
            raise
        rotated.unlink()


def _compressed(rotated: Path) -> Path:
    return rotated.with_name(f"{rotated.name}.gz")


def _private(name: str, flags: int) -> int:
    return os.open(name, flags, 0o640)
