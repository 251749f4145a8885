"""The FIFO beside the outboxes, by which a process that emits wakes a relay in a process of its own."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from dispatcher.outbox.permissions import pass_on_group

_NAME: Final = ".relay.fifo"
#: What a process writes that has opened an outbox, and one that has appended an event.
OPENED: Final = b"o"
APPENDED: Final = b"a"


def open_fifo(root: Path) -> int:
    """The relay's side: the FIFO of all outboxes under ``root``, made where it does not exist. Does not block.

    Returns:
        Its descriptor, non-blocking. It is open for writing too: so it never ends, however many writers close it.

    Raises:
        OSError: ``root`` does not exist or belongs to another user, or its file system has no FIFOs.
    """
    path = root / _NAME
    with suppress(FileExistsError):
        os.mkfifo(path, 0o600)
    fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        if not stat.S_ISFIFO(os.fstat(fd).st_mode):
            raise OSError(f"{path} is not a FIFO: delete it, and the relay makes one")
        with suppress(PermissionError):  # made by another user, who has given it these rights
            pass_on_group(fd, root)
    except OSError:
        os.close(fd)
        raise
    return fd


def wake_relay(root: Path, what: bytes) -> None:
    """The emitting process's side: wake the relay of ``root``, if one sleeps. Never blocks and never raises.

    Takes some 10 µs. A relay that this process may not write to finds an event within a second by itself.

    Args:
        root: The directory of all outboxes.
        what: ``OPENED`` or ``APPENDED``.
    """
    # Opened each time: a relay that is started anew may have made the file anew, and a forked child inherits nothing.
    with suppress(OSError):
        fd = os.open(root / _NAME, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.write(fd, what)
        finally:
            os.close(fd)
