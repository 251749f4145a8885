"""Files: the names of receipt files, which say whose they are and since when, and what a directory has of them."""

from __future__ import annotations

import os
import re
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Final

_SUFFIX: Final = ".receipts"
# Of a host's name, what may not stand in a file's.
_ODD: Final = re.compile(r"[^A-Za-z0-9._-]")
# HOST-PID-MILLISECONDS-RANDOM.
_NAME: Final = re.compile(r"(.+)-\d+-(\d+)-[0-9a-f]+\.receipts")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptFile:
    """A receipt file as it was found.

    Args:
        path: Where it is.
        host: The host of the worker that wrote it.
        since_ms: When it was begun, in milliseconds since 1970.
        bytes: Its size.
        changed: When the last receipt was written to it, in seconds since 1970.
    """

    path: Path
    host: str
    since_ms: int
    bytes: int
    changed: float


def new_path(directory: Path) -> Path:
    """A name for a new file of this process."""
    return directory / f"{_plain(socket.gethostname())}-{os.getpid()}-{int(time.time() * 1000)}-{token_hex(3)}{_SUFFIX}"


def host_of_worker(name: str) -> str:
    """The host of a worker, as the names of its files say it, from Celery's name for the worker."""
    return _plain(name.rpartition("@")[2])


def receipt_files(directory: Path) -> list[ReceiptFile]:
    """The receipt files of a directory, the one that was written to last first; none where it does not exist.

    Raises:
        OSError: It cannot be read.
    """
    try:
        entries = list(os.scandir(directory))
    except FileNotFoundError:
        return []
    found: list[ReceiptFile] = []
    for entry in entries:
        if name := _NAME.fullmatch(entry.name):
            with suppress(FileNotFoundError):  # it was deleted meanwhile
                status = entry.stat()
                found.append(
                    ReceiptFile(
                        path=Path(entry.path),
                        host=name[1],
                        since_ms=int(name[2]),
                        bytes=status.st_size,
                        changed=status.st_mtime,
                    )
                )
    return sorted(found, key=lambda file: file.changed, reverse=True)


def _plain(host: str) -> str:
    return _ODD.sub("_", host) or "host"
