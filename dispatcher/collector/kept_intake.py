"""KeptIntake: the counters of this process in a file of their own, and the sums of all collectors of this machine.

Each process goes on from what it finds in its file, so that a sum never goes down. A killed process loses what it
counted in the last two seconds.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path
from typing import Final

from dispatcher.monitoring.intake import SUFFIX, Intake, decode_intake, intake_directory, read_intake
from dispatcher.outbox.permissions import pass_on_group

#: Seconds between two writes.
WRITE_SECONDS: Final = 2.0
# As many processes as may share a port, twice: the old ones and the new ones of a restart.
_MAX_PLACES: Final = 512


class KeptIntake:
    """The file of one process. For one thread.

    Args:
        outboxes: The directory of the outboxes. Whoever may read them may read these counts.
        counts: Of this process.
    """

    def __init__(self, outboxes: Path, counts: Intake) -> None:
        self._directory = intake_directory(outboxes)
        self._counts = counts
        self._before = Intake()
        self._file: Path | None = None
        self._lock = -1
        self._written = b""
        self._accepted: dict[str, int] = {}
        self._clients: dict[tuple[str, str], int] = {}

    def open(self) -> None:
        """Take the first place that no other process has. Without one, or without a disk, nothing is kept."""
        with contextlib.suppress(OSError):
            if not self._directory.is_dir():
                self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                pass_on_group(self._directory, self._directory.parent)
            for place in range(1, _MAX_PLACES + 1):
                fd = os.open(self._directory / f"{place}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    os.close(fd)
                    continue
                self._lock, self._file = fd, self._directory / f"{place}{SUFFIX}"
                with contextlib.suppress(FileNotFoundError):
                    self._before = decode_intake(self._file.read_bytes())
                return

    def encode(self) -> bytes | None:
        """What belongs into the file now; None where that is there already. Notes who was seen since the last time."""
        now, counts = time.time(), self._counts
        # Looked at here, and not with each request.
        for source, number in counts.accepted.items():
            if self._accepted.get(source) != number:
                self._accepted[source], counts.last_seen[source] = number, now
        for client, number in counts.clients.items():
            if self._clients.get(client) != number:
                self._clients[client], counts.client_last_seen[client] = number, now
        if self._file is None:
            return None
        total = Intake()
        total.add(self._before)
        total.add(counts)
        content = total.encode()
        return None if content == self._written else content

    def write(self, content: bytes | None) -> None:
        """Write what ``encode`` gave. May block. A full disk leaves the file as it was."""
        if self._file is None or content is None:
            return
        beside = self._file.with_suffix(".new")
        with contextlib.suppress(OSError):
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
                pass_on_group(file.fileno(), self._directory)
                file.write(content)
            beside.replace(self._file)
            self._written = content

    def total(self) -> Intake:
        """The sum of all processes, those that have ended too; of the others as they were two seconds ago."""
        total = Intake()
        total.add(self._before)
        with contextlib.suppress(OSError):
            total.add(read_intake(self._directory, leaving_out=self._file))
        total.add(self._counts)
        return total

    def close(self) -> None:
        """Write the last of it, and leave the place to others."""
        self.write(self.encode())
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
