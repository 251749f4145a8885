"""DiskUsage: what the journals of all outboxes take of the disk, known without a look at each of them.

Beside the outboxes there is an account: the sum as it was last counted, and what was allocated since. Whoever allocates
adds to it; what is deleted is seen at the next count. So it is too high rather than too low, and it is counted anew
before anything is refused for it.
"""

from __future__ import annotations

import errno
import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final

from dispatcher.outbox.listing import journals_bytes
from dispatcher.outbox.permissions import pass_on_group
from dispatcher.process.clock import monotonic, time_ns

_NAME: Final = ".usage"
# The sum in bytes, what of it was allocated since the count, and when that was, in nanoseconds since 1970.
_ACCOUNT: Final = struct.Struct("@qqq")
# The fraction of the limit up to which the account is believed.
_BELIEVED: Final = 0.75
# The age at which nobody believes it any more. One relay of the machine counts more often, as long as much changes.
_OLD_SECONDS: Final = 60.0
_OLD_AT_REST_SECONDS: Final = 3600.0
_RECOUNT_SECONDS: Final = 5.0
# A relay counts for no more than this fraction of its time, however many outboxes there are.
_COUNTING: Final = 0.002


class DiskUsage:
    """The account of all outboxes under one directory. Safe in threads, after a fork and in several processes.

    Two that add in the same moment may lose one of their numbers until the next count: a few hundred kilobytes.

    Args:
        root: The directory of all outboxes.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._path = root / _NAME
        self._next_count_at = float("-inf")

    def add(self, wanted: int, max_bytes: int) -> None:
        """Add to the account what is about to be allocated.

        Takes a few system calls, however many outboxes there are, but where the limit is near: then all are counted.

        Args:
            wanted: The bytes.
            max_bytes: What the sum may be.

        Raises:
            OSError: EDQUOT: it would be more.
        """
        account = self._read()
        if account is None or account[0] + wanted > max_bytes * _BELIEVED:
            in_use = journals_bytes(self._root)
            if in_use + wanted > max_bytes:
                raise OSError(errno.EDQUOT, f"{in_use:,} bytes are in use")
            self._write(in_use + wanted, 0)
            return
        self._write(account[0] + wanted, account[1] + wanted, counted_ns=account[2])

    def bytes(self) -> int:
        """The sum, as far as it is known. Counts where nobody has for long."""
        account = self._read()
        return self.count() if account is None else account[0]

    def exceeds(self, limit: int) -> bool:
        """Whether the sum is beyond ``limit``. Counts before it says so."""
        return self.bytes() > limit and self.count() > limit

    def count(self) -> int:
        """Count now: look at the files of every outbox. Returns the sum."""
        in_use = journals_bytes(self._root)
        self._write(in_use, 0)
        return in_use

    def count_now_and_then(self) -> None:
        """For the one relay that looks after the dead: count where anything was allocated, and not too often."""
        now = monotonic()
        account = self._read()
        if now < self._next_count_at or (account is not None and account[1] == 0):
            return
        self.count()
        took = monotonic() - now
        self._next_count_at = now + max(_RECOUNT_SECONDS, took / _COUNTING)

    def _read(self) -> tuple[int, int, int] | None:
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                content = os.pread(fd, _ACCOUNT.size, 0)
            finally:
                os.close(fd)
        except OSError:
            return None
        if len(content) != _ACCOUNT.size:
            return None
        in_use, added, counted_ns = _ACCOUNT.unpack(content)
        # At rest nothing is allocated, and an old count is as good as a new one. A power cut leaves zeros.
        limit = _OLD_SECONDS if added else _OLD_AT_REST_SECONDS
        return (in_use, added, counted_ns) if 0 <= time_ns() - counted_ns <= limit * 1e9 else None

    def _write(self, in_use: int, added: int, *, counted_ns: int | None = None) -> None:
        content = _ACCOUNT.pack(in_use, added, time_ns() if counted_ns is None else counted_ns)
        with suppress(OSError):  # on a full disk, or where another user made it, everything is counted each time
            try:
                fd = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
                pass_on_group(fd, self._root)
            try:
                os.pwrite(fd, content, 0)
            finally:
                os.close(fd)
