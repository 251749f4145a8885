"""Survey: how much waits in the outboxes of this machine, seen from outside and without any lock kept."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from dispatcher.errors import BlankStateError, OutboxError
from dispatcher.event import decode
from dispatcher.outbox.journal import (
    HEADER,
    HEADER_BYTES,
    LENGTH_MASK,
    ROTATED,
    frame_bytes,
    journal_path,
    resynchronise,
)
from dispatcher.outbox.listing import find_outboxes, journal_indexes, outbox_disk_bytes
from dispatcher.outbox.state import State, journal_bytes_of, pid_of


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxSurvey:
    """One outbox directory as it was found.

    Args:
        name: The directory's name.
        pid: The process that writes, or wrote, to it.
        alive: Whether that process still has it open.
        waiting: Events that are not in the batch store yet.
        bytes: What these take up.
        disk_bytes: What its journal files take of the disk; ``outbox.max_bytes`` limits the sum of these.
        refused: Events that found it full.
        oldest_ms: The timestamp of the first event that waits, in milliseconds since 1970; None where nothing does.
        problem: Why it cannot be read, so that more may wait than is counted; empty where it can.
    """

    name: str
    pid: int
    alive: bool
    waiting: int
    bytes: int
    disk_bytes: int
    refused: int
    oldest_ms: int | None = None
    problem: str = ""


def survey(root: Path) -> list[OutboxSurvey]:
    """Every outbox under ``root``. Reads the headers of what waits; a million events take a second.

    Raises:
        OSError: ``root`` cannot be read. An outbox in it that cannot be read is in the list, with its ``problem``.
    """
    return Surveyor(root).look()


class Surveyor:
    """Looks at the outboxes under one directory again and again. For one thread at a time.

    A file that its writer has finished is counted once, so that a long backlog costs time at the first look only.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._finished: dict[Path, tuple[int, int]] = {}

    def look(self) -> list[OutboxSurvey]:
        """Every outbox that is there now, by name. Raises what ``survey`` raises."""
        before, self._finished = self._finished, {}
        found = (self._survey(directory, before) for directory in find_outboxes(self._root))
        return [one for one in found if one is not None]

    def _survey(self, directory: Path, before: dict[Path, tuple[int, int]]) -> OutboxSurvey | None:
        try:
            state = State.open(directory)
        except FileNotFoundError:
            return None  # gone in the meantime
        except BlankStateError as error:
            # Its writer is dead: a power cut came. A relay makes the page anew, and reads all that there is.
            return self._summary(directory, before, journal_bytes_of(directory), problem=str(error))
        except (OSError, OutboxError) as error:
            return self._summary(directory, before, 0, problem=str(error))
        try:
            alive = not state.try_lock()
            if not alive:
                state.unlock()
            return self._summary(
                directory,
                before,
                state.journal_bytes,
                position=state.position,
                pid=state.pid,
                alive=alive,
                refused=state.refused,
            )
        except OSError as error:
            # The state can be read, and the directory or a journal cannot.
            return self._summary(directory, before, 0, pid=state.pid, refused=state.refused, problem=str(error))
        finally:
            state.close()

    def _summary(
        self,
        directory: Path,
        before: dict[Path, tuple[int, int]],
        journal_bytes: int,
        *,
        position: int = 0,
        pid: int | None = None,
        alive: bool = False,
        refused: int = 0,
        problem: str = "",
    ) -> OutboxSurvey:
        waiting = size = 0
        if journal_bytes:
            waiting, size = self._count(directory, position, journal_bytes, before, alive=alive)
        return OutboxSurvey(
            name=directory.name,
            pid=pid_of(directory) if pid is None else pid,
            alive=alive,
            waiting=waiting,
            bytes=size,
            disk_bytes=outbox_disk_bytes(directory),
            refused=refused,
            oldest_ms=_first_timestamp(directory, position, journal_bytes) if waiting else None,
            problem=problem,
        )

    def _count(
        self,
        directory: Path,
        position: int,
        journal_bytes: int,
        before: dict[Path, tuple[int, int]],
        *,
        alive: bool,
    ) -> tuple[int, int]:
        events = size = 0
        first, first_offset = divmod(position, journal_bytes)
        indexes = [index for index in journal_indexes(directory) if index >= first]
        for index in indexes:
            path = journal_path(directory, index)
            offset = first_offset if index == first else 0
            counted = before.get(path) if offset == 0 else None
            if counted is None:
                try:
                    more, more_bytes, finished = _count_file(path, offset, may_end=alive and index == indexes[-1])
                except FileNotFoundError:
                    continue  # relayed in the meantime
                counted = (more, more_bytes)
            else:
                finished = True
            if finished and offset == 0:
                self._finished[path] = counted
            events, size = events + counted[0], size + counted[1]
        return events, size


def _count_file(path: Path, offset: int, *, may_end: bool) -> tuple[int, int, bool]:
    """Events and bytes from ``offset`` on, and whether nothing more will come.

    ``may_end`` is whether zeros are where the next event will be; else events may stand behind them.
    """
    buffer = _contents(path)
    events = size = 0
    while offset + HEADER_BYTES <= len(buffer):
        length = HEADER.unpack_from(buffer, offset)[0] & LENGTH_MASK
        if length == ROTATED or (length == 0 and may_end):
            return events, size, length == ROTATED
        if length == 0 or offset + HEADER_BYTES + length > len(buffer):
            # It is damaged: count on from where a reader would go on.
            offset = resynchronise(buffer, offset) or len(buffer)
            continue
        events += 1
        size += length
        offset += frame_bytes(length)
    return events, size, not may_end


def _first_timestamp(directory: Path, position: int, journal_bytes: int) -> int | None:
    index, offset = divmod(position, journal_bytes)
    while True:
        try:
            with journal_path(directory, index).open("rb", buffering=0) as journal:
                header = os.pread(journal.fileno(), HEADER_BYTES, offset)
                length = HEADER.unpack(header)[0] & LENGTH_MASK if len(header) == HEADER_BYTES else ROTATED
                if length != ROTATED:
                    payload = os.pread(journal.fileno(), length, offset + HEADER_BYTES)
                    return int(decode(payload).timestamp.timestamp() * 1000)
        except (FileNotFoundError, msgspec.DecodeError):
            return None  # relayed in the meantime, or damaged
        index, offset = index + 1, 0


def _contents(path: Path) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(fd, os.fstat(fd).st_size, 0)
    finally:
        os.close(fd)
