"""The pages of a journal's map: brought into memory before they are written, and synced to disk afterwards.

Both use ctypes, since mmap's own methods would hold the interpreter all the while. Safe in threads and after a fork.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
import time
from pathlib import Path
from typing import Final

# MS_SYNC of msync(2).
_SYNC: Final = 4
# MADV_POPULATE_WRITE of madvise(2), Linux 5.14 and later; Python's mmap has no name for it.
_POPULATE_WRITE: Final = 23
# Where the kernel does not know it: pages touched at once, and seconds in between, in which the threads that emit can
# have the interpreter.
_PAGES_A_SLICE: Final = 16
_PAUSE_SECONDS: Final = 0.00005

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def sync_pages(pages: mmap.mmap, start: int, end: int) -> None:
    """Sync the bytes from ``start`` to ``end`` to disk. Blocks for as long as the disk takes. Raises OSError.

    Not the whole file: a page that was synced costs the next store to it a fault, so only those are that are full,
    and the one that is being filled.
    """
    start -= start % mmap.PAGESIZE
    if _libc is None:
        pages.flush(start, min(end, len(pages)) - start)
        return
    first = ctypes.c_char.from_buffer(pages)
    try:
        address = ctypes.c_void_p(ctypes.addressof(first) + start)
        if _libc.msync(address, ctypes.c_size_t(end - start), _SYNC) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        del first  # a map that is looked into cannot be closed


def sync_file(path: Path) -> None:
    """Sync a file's contents to disk, or a directory's names. Blocks for as long as the disk takes. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def prefault(pages: mmap.mmap) -> None:
    """Bring in all pages for writing. Blocks for milliseconds, during which other threads run."""
    if not _populate(pages):
        _touch(pages)


def _populate(pages: mmap.mmap) -> bool:
    if _libc is None:
        return False
    first = ctypes.c_char.from_buffer(pages)
    try:
        address, size = ctypes.c_void_p(ctypes.addressof(first)), ctypes.c_size_t(len(pages))
        return bool(_libc.madvise(address, size, _POPULATE_WRITE) == 0)
    finally:
        del first  # a map that is looked into cannot be closed


def _touch(pages: mmap.mmap) -> None:
    step = mmap.PAGESIZE
    for offset in range(0, len(pages), step):
        pages[offset] = 0
        if (offset // step) % _PAGES_A_SLICE == 0:
            time.sleep(_PAUSE_SECONDS)
