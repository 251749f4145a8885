"""Listing: what is in the directories of other processes. Everything there may vanish at any moment.

All code that reads such a directory does it here, where a race with a process that comes, goes or deletes is no error.
Functions read the file system and block as briefly as it does; they are safe in threads and after a fork.
"""

from __future__ import annotations

import errno
import logging
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Final

from dispatcher.outbox.journal import NOTES_SUFFIX, SUFFIX

logger = logging.getLogger(__name__)

#: The state file's name. Only a directory that has one is an outbox.
STATE: Final = "state"
#: The file whose lock a relay holds.
RELAY_LOCK: Final = "relay.lock"
#: The file under the root that one relay of the machine locks: it alone looks after the outboxes of dead processes.
ADOPTION_LOCK: Final = ".adoption.lock"
#: The directory beside the outboxes for damaged pieces of journals.
DAMAGED: Final = "damaged"

# st_blocks counts these, whatever the file system's own blocks are (stat(2)).
_BLOCK_BYTES: Final = 512
# How an outbox is named: after its process, and at random.
_OUTBOX: Final = re.compile(r"\d+-[0-9a-f]+")


def names(directory: Path) -> list[str]:
    """The names in a directory; empty if it is gone or not a directory. Raises PermissionError."""
    try:
        return os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []


def directories(root: Path) -> list[Path]:
    """The directories under ``root``, ordered by name, with hidden ones but without ``DAMAGED``."""
    try:
        with os.scandir(root) as entries:
            found = [entry.name for entry in entries if entry.name != DAMAGED and entry.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [root / name for name in sorted(found)]


def find_outboxes(root: Path) -> list[Path]:
    """The outbox directories under ``root``, ordered by name. Empty if ``root`` is not a directory.

    One that this user may not look into is among them: events may wait in it, and whoever opens it is told why it
    cannot be read.

    Raises:
        OSError: ``root`` cannot be read.
    """
    return [path for path in directories(root) if is_outbox(root, path.name)]


def is_outbox(root: Path, name: str) -> bool:
    """Whether there is an outbox of that name under ``root``, also one that this user may not look into."""
    if name.startswith("."):
        return False
    try:
        os.stat(root / name / STATE)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        # Such as lost+found, where the root is a volume of its own.
        return _OUTBOX.fullmatch(name) is not None
    return True


def journal_indexes(directory: Path) -> list[int]:
    """The numbers of an outbox's journal files, in order. The spare file has no number."""
    stems = [name.removesuffix(SUFFIX) for name in names(directory) if name.endswith(SUFFIX)]
    return sorted(int(stem) for stem in stems if stem.isdigit())


def size_bytes(path: Path) -> int:
    """The length of a file in bytes; 0 if it is gone."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def disk_bytes(path: Path) -> int:
    """The bytes of disk that a file takes, for a journal often fewer than its length; 0 if it is gone."""
    try:
        return path.stat().st_blocks * _BLOCK_BYTES
    except OSError:
        return 0


def outbox_disk_bytes(directory: Path | str) -> int:
    """The bytes of disk that the journals of one outbox take; 0 if this user may not read the directory."""
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
    """The bytes of disk that the journals of all outboxes under ``root`` take, as far as this user may read them."""
    return sum(outbox_disk_bytes(f"{root}/{name}") for name in names(root))


def remove_outbox(directory: Path) -> None:
    """Delete an outbox that nobody needs any more. If a kill cuts this short, ``remove_litter`` removes the rest."""
    # The state goes after the journals: as long as there are any, the directory can be read.
    ours = [name for name in names(directory) if name.endswith((SUFFIX, NOTES_SUFFIX))]
    for name in (*ours, STATE, RELAY_LOCK):
        (directory / name).unlink(missing_ok=True)
    try:
        directory.rmdir()
    except OSError as error:
        # Another process has removed it, or has just put a lock into it and removes both.
        level = logging.DEBUG if error.errno in (errno.ENOENT, errno.ENOTEMPTY) else logging.WARNING
        logger.log(level, "the empty outbox %s cannot be removed: %s", directory, error)


def remove_litter(directory: Path) -> bool:
    """Remove a directory that has no state file and cannot hold an event. Returns whether it was such a directory."""
    left = names(directory)
    # A journal without a state may hold events that a person wants to read by hand, unless it was never written to.
    if STATE in left or any(name.endswith(SUFFIX) and disk_bytes(directory / name) for name in left):
        return False
    if any(not name.endswith((SUFFIX, NOTES_SUFFIX)) and name != RELAY_LOCK for name in left):
        return False
    remove_outbox(directory)
    return True
