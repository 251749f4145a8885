"""Prefault: have the kernel bring in the pages of a new map, so that no store of emit's has to wait for that."""

from __future__ import annotations

import ctypes
import mmap
import sys
import time
from typing import Final

# MADV_POPULATE_WRITE of madvise(2), Linux 5.14 and later; Python's mmap has no name for it.
_POPULATE_WRITE: Final = 23
# Where the kernel does not know it: pages touched at once, and seconds in between, in which the threads that emit can
# have the interpreter.
_PAGES_A_SLICE: Final = 16
_PAUSE_SECONDS: Final = 0.00005

_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def prefault(pages: mmap.mmap) -> None:
    """Bring in all pages for writing. Blocks for milliseconds, during which other threads run."""
    if not _populate(pages):
        _touch(pages)


def _populate(pages: mmap.mmap) -> bool:
    if _libc is None:
        return False
    # By way of ctypes, since mmap.madvise would hold the interpreter all the while.
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
