"""DiskUsage: what the journals of all outboxes take of the disk, known without a look at each of them.

Beside the outboxes there is an account: the sum as it was last counted, and what was allocated since. Whoever allocates
appends its number, so that none is lost where several do at once; what is deleted is seen at the next count. So it is
too high rather than too low, and it is counted anew before anything is refused for it.
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
# The sum in bytes as it was counted, when that was, in nanoseconds since 1970, and where in the file the numbers begin
# that came later.
_COUNTED: Final = struct.Struct("@qqq")
# A number: the bytes that somebody allocates.
_ADDED: Final = struct.Struct("@q")
# A file with more bytes than this is begun anew.
_LONG: Final = 1 << 20
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

    What is added in the very moment of a count may be missing until the next one: a step or two of one journal.

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
        if account is None or sum(account) + wanted > max_bytes * _BELIEVED:
            in_use = self.count()
            if in_use + wanted > max_bytes:
                raise OSError(errno.EDQUOT, f"{in_use:,} bytes are in use")
        self._append(wanted)

    def total(self) -> int:
        """The sum, as far as it is known. Counts where nobody has for long."""
        account = self._read()
        return self.count() if account is None else sum(account)

    def exceeds(self, limit: int) -> bool:
        """Whether the sum is beyond ``limit``. Counts before it says so."""
        return self.total() > limit and self.count() > limit

    def count(self) -> int:
        """Count now: look at the files of every outbox. Returns the sum."""
        try:
            # Before the look at the files, which finds what these numbers stand for.
            known = max(self._path.stat().st_size, _COUNTED.size)
        except OSError:
            known = _COUNTED.size
        in_use = journals_bytes(self._root)
        with suppress(OSError):  # on a full disk, or where another user made it, everything is counted each time
            if known > _LONG:
                self._path.unlink()
                known = _COUNTED.size
            self._write(os.O_WRONLY, _COUNTED.pack(in_use, time_ns(), known))
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

    def _read(self) -> tuple[int, int] | None:
        """The sum at the last count, and what was added since. None where it is unknown, or too old to be believed."""
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                counted = os.pread(fd, _COUNTED.size, 0)
                in_use, counted_ns, known = _COUNTED.unpack(counted)
                numbers = os.pread(fd, 2 * _LONG, known)
            finally:
                os.close(fd)
        except (OSError, struct.error, OverflowError):
            return None
        added = sum(number for (number,) in _ADDED.iter_unpack(numbers[: len(numbers) // _ADDED.size * _ADDED.size]))
        # At rest nothing is allocated, and an old count is as good as a new one. A power cut leaves zeros.
        limit = _OLD_SECONDS if added else _OLD_AT_REST_SECONDS
        return (in_use, added) if 0 <= time_ns() - counted_ns <= limit * 1e9 else None

    def _append(self, number: int) -> None:
        with suppress(OSError):  # as in ``count``
            self._write(os.O_WRONLY | os.O_APPEND, _ADDED.pack(number))

    def _write(self, flags: int, content: bytes) -> None:
        # In one write, which the system does not mix with another one to the same file.
        try:
            fd = os.open(self._path, flags | os.O_CLOEXEC)
        except FileNotFoundError:
            if flags & os.O_APPEND:
                return  # nobody has counted
            fd = os.open(self._path, flags | os.O_CREAT | os.O_CLOEXEC, 0o600)
            pass_on_group(fd, self._root)
        try:
            os.write(fd, content)
        finally:
            os.close(fd)
