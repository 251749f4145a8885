"""The pages of a journal's map brought into memory before they are written, and files synced. Safe in threads."""

from __future__ import annotations

import mmap
import os
import time
from pathlib import Path
from typing import Final

from dispatcher.process.system_calls import populate, sync

# Where the kernel cannot bring in all pages itself: pages touched at once, and seconds in between, in which the threads
# that emit can have the interpreter.
_PAGES_A_SLICE: Final = 16
_PAUSE_SECONDS: Final = 0.00005


def sync_file(path: Path) -> None:
    """Sync a file's contents to disk, or a directory's names. Blocks for as long as the disk takes. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sync(fd)
    finally:
        os.close(fd)


def prefault(pages: mmap.mmap) -> None:
    """Bring in all pages for writing. Blocks for milliseconds, during which other threads run."""
    if populate(pages):
        return
    step = mmap.PAGESIZE
    for offset in range(0, len(pages), step):
        pages[offset] = 0
        if (offset // step) % _PAGES_A_SLICE == 0:
            time.sleep(_PAUSE_SECONDS)
