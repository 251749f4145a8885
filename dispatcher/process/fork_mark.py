"""Fork mark: a byte that is 1 in the process that set it and 0 in every child forked since, however it was forked."""

from __future__ import annotations

import mmap
import os
from typing import Protocol

from dispatcher.process.system_calls import wipe_on_fork


class ForkMark(Protocol):
    """Byte 0 is the mark. Reading it takes a fifth of the time of asking the kernel for the process's id."""

    def __getitem__(self, index: int, /) -> int: ...
    def __setitem__(self, index: int, value: int, /) -> None: ...


def fork_mark() -> ForkMark:
    """A new mark, which is not set. Safe in threads.

    Python's at-fork hooks would do, but some servers fork without running them.
    """
    page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if wipe_on_fork(page):
        return page
    page.close()
    return _PidMark()


class _PidMark:
    """The mark where the kernel does not wipe pages on fork."""

    def __init__(self) -> None:
        self._pid = 0

    def __getitem__(self, index: int, /) -> int:
        return int(self._pid == os.getpid())

    def __setitem__(self, index: int, value: int, /) -> None:
        self._pid = os.getpid() if value else 0
