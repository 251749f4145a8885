"""Listing: what stands in directories that other processes own. All of it may vanish between two looks.

Whoever looks there goes through this file: a race with a process that comes, goes or deletes is never an error.
"""

from __future__ import annotations

import errno
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from dispatcher.outbox.journal import NOTES_SUFFIX, SUFFIX

logger = logging.getLogger(__name__)

#: The state file's name. A directory without it is no outbox.
STATE: Final = "state"
#: The file whose lock a relay holds.
RELAY_LOCK: Final = "relay.lock"
#: The file under the root whose lock the one relay of a machine holds that looks after the outboxes of the dead.
ADOPTION_LOCK: Final = ".adoption.lock"
#: The directory beside the outboxes with what was no whole event.
DAMAGED: Final = "damaged"

# st_blocks counts these, whatever the file system's own blocks are (stat(2)).
_BLOCK_BYTES: Final = 512


def names(directory: Path) -> list[str]:
    """The names in a directory; empty where it is gone or is none. Raises PermissionError."""
    try:
        return os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []


def directories(root: Path) -> list[Path]:
    """The directories under ``root`` by name, hidden ones too, without that of what is damaged."""
    try:
        with os.scandir(root) as entries:
            found = [entry.name for entry in entries if entry.name != DAMAGED and entry.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [root / name for name in sorted(found)]


def find_outboxes(root: Path) -> list[Path]:
    """The outbox directories under ``root``, by name. Empty where ``root`` is no directory."""
    found = [path for path in directories(root) if not path.name.startswith(".")]
    return [path for path in found if os.path.exists(f"{path}/{STATE}")]


def journal_indexes(directory: Path) -> list[int]:
    """The numbers of an outbox's journal files, in order. A spare one has none."""
    stems = [name.removesuffix(SUFFIX) for name in names(directory) if name.endswith(SUFFIX)]
    return sorted(int(stem) for stem in stems if stem.isdigit())


def size_bytes(path: Path) -> int:
    """The length of a file; 0 where it is gone."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def disk_bytes(path: Path) -> int:
    """What a file takes of the disk, which for a journal may be less than its length; 0 where it is gone."""
    try:
        return path.stat().st_blocks * _BLOCK_BYTES
    except OSError:
        return 0


def outbox_disk_bytes(directory: Path | str) -> int:
    """What the journals of one outbox take of the disk; 0 where it may not be looked into."""
    # By scandir, and without Path: there may be hundreds, and emit waits for the sum when it makes a file.
    found = 0
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.endswith(SUFFIX):
                    with suppress(FileNotFoundError):
                        found += entry.stat().st_blocks * _BLOCK_BYTES
    except OSError:
        return found  # it is gone, or another user's
    return found


def journals_bytes(root: Path) -> int:
    """What the journals of all outboxes under ``root`` take of the disk, as far as this user may look."""
    return sum(outbox_disk_bytes(f"{root}/{name}") for name in names(root))


def remove_outbox(directory: Path) -> None:
    """Delete an outbox of which nothing is needed. What a kill in its middle leaves, ``remove_litter`` finds."""
    # The state goes last but for the lock: as long as there are journals, the directory can be read.
    ours = [name for name in names(directory) if name.endswith((SUFFIX, NOTES_SUFFIX))]
    for name in (*ours, STATE, RELAY_LOCK):
        (directory / name).unlink(missing_ok=True)
    try:
        directory.rmdir()
    except OSError as error:
        # Somebody else has removed it, or has just put a lock into it, and removes both.
        level = logging.DEBUG if error.errno in (errno.ENOENT, errno.ENOTEMPTY) else logging.WARNING
        logger.log(level, "the empty outbox %s cannot be removed: %s", directory, error)


def remove_litter(directory: Path) -> bool:
    """Remove a directory without a state file in which no event can be. Returns whether it was one."""
    left = names(directory)
    # A journal without a state holds events that somebody may want to read by hand, unless it was never written to.
    if STATE in left or any(name.endswith(SUFFIX) and disk_bytes(directory / name) for name in left):
        return False
    if any(not name.endswith((SUFFIX, NOTES_SUFFIX)) and name != RELAY_LOCK for name in left):
        return False
    remove_outbox(directory)
    return True
