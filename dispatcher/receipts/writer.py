"""Writer: appends blocks of receipts to files of this process, and deletes the oldest ones of the directory.

Each process has files of its own, so that nothing is locked, and hosts may share a directory.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from dispatcher.receipts.files import new_path, receipt_files

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dispatcher.receipts.block import Block

logger = logging.getLogger(__name__)

# Bytes of one file, and how many of them the directory has at least before the oldest is deleted.
_FILE_BYTES: Final = 4 << 20
_FEWEST_FILES: Final = 8
# A full disk, a used up quota, a limit on the size of files.
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# Seconds between two warnings that receipts are not written.
_WARN_SECONDS: Final = 600.0


class ReceiptWriter:
    """Writes the receipts of one process. Safe in threads; after a fork the child writes files of its own.

    What is written survives the process, however that ends. It is not synced: a power cut may take the last seconds.

    Args:
        directory: Where the files are. It is made at the first receipt.
        max_bytes: What all files there may take together; 0: no receipts are written.
        max_age_seconds: How old a file may get.
    """

    def __init__(self, directory: Path, *, max_bytes: int, max_age_seconds: float) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._max_age = max_age_seconds
        self._file_bytes = min(_FILE_BYTES, max(1, max_bytes // _FEWEST_FILES))
        self._lock = threading.Lock()
        self._fd = -1
        self._path = directory
        self._size = 0
        self._pid = 0
        self._warned_at = float("-inf")

    @property
    def is_on(self) -> bool:
        """Whether receipts are written at all."""
        return self._max_bytes > 0

    def write(self, blocks: Sequence[Block]) -> None:
        """Append blocks, in one system call. Raises nothing: a delivery does not depend on its receipt."""
        if not blocks or not self.is_on:
            return
        text = b"".join([block.encode() for block in blocks])
        with self._lock:
            if self._pid != os.getpid():  # a forked child: the file is its parent's
                self._close()
                self._pid = os.getpid()
            try:
                self._append(text)
            except OSError as error:
                self._give_up(error)
                if time.monotonic() - self._warned_at >= _WARN_SECONDS:
                    self._warned_at = time.monotonic()
                    logger.warning(
                        "receipts are not written to %s, so that find will not show these deliveries: %s; make room "
                        "there, or set receipts.directory",
                        self._directory,
                        error.strerror or type(error).__name__,
                    )

    def close(self) -> None:
        """Close the file. May be called twice; ``write`` opens another one."""
        with self._lock:
            self._close()

    def _append(self, text: bytes) -> None:
        # A file that somebody deleted would take receipts that nobody finds.
        if self._fd >= 0 and (self._size + len(text) > self._file_bytes or os.fstat(self._fd).st_nlink == 0):
            self._close()
        if self._fd < 0:
            self._open()
        if os.write(self._fd, text) < len(text):
            os.ftruncate(self._fd, self._size)  # a half block would hide what follows
            raise OSError(errno.ENOSPC, "the disk is full")
        self._size += len(text)

    def _open(self) -> None:
        self._directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._tidy()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._path = new_path(self._directory)
        self._fd = os.open(self._path, flags, 0o640)
        self._size = 0

    def _tidy(self) -> None:
        """Delete what is too old, and the oldest of what is too much with the file that is to come."""
        room = self._max_bytes - self._file_bytes
        too_old = time.time() - self._max_age
        for file in receipt_files(self._directory):
            room -= file.bytes
            if room < 0 or file.changed < too_old:
                with suppress(FileNotFoundError):  # another process tidies too
                    file.path.unlink()

    def _give_up(self, error: OSError) -> None:
        """Close the file, for another one. On a full disk it stays, or each delivery would leave one."""
        if self._fd >= 0 and self._size == 0:
            with suppress(OSError):
                self._path.unlink()
        elif error.errno in _FULL:
            return
        self._close()

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
