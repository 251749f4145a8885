"""Survey: how much waits in the outboxes of this machine, seen from outside and without any lock kept."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from dispatcher.errors import OutboxError
from dispatcher.outbox.journal import (
    HEADER,
    HEADER_BYTES,
    LENGTH_MASK,
    ROTATED,
    frame_bytes,
    journal_path,
    resynchronise,
)
from dispatcher.outbox.reader import find_outboxes
from dispatcher.outbox.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxSurvey:
    """One outbox directory as it was found.

    Args:
        name: The directory's name.
        pid: The process that writes, or wrote, to it.
        alive: Whether that process still has it open.
        waiting: Events that are not in the batch store yet.
        bytes: What these take up.
        refused: Events that found it full.
    """

    name: str
    pid: int
    alive: bool
    waiting: int
    bytes: int
    refused: int


def survey(root: Path) -> list[OutboxSurvey]:
    """Every outbox under ``root``. Reads the headers of what waits; a million events take a second."""
    found = (_survey_one(directory) for directory in find_outboxes(root))
    return [one for one in found if one is not None]


def _survey_one(directory: Path) -> OutboxSurvey | None:
    try:
        state = State.open(directory)
    except (OSError, OutboxError):
        return None  # gone in the meantime, or nothing that can be read
    try:
        alive = not state.try_lock()
        if not alive:
            state.unlock()
        waiting, size = _count(directory, state.position, state.journal_bytes)
        return OutboxSurvey(
            name=directory.name, pid=state.pid, alive=alive, waiting=waiting, bytes=size, refused=state.refused
        )
    finally:
        state.close()


def _count(directory: Path, position: int, journal_bytes: int) -> tuple[int, int]:
    events = size = 0
    index, offset = divmod(position, journal_bytes)
    while True:
        try:
            buffer = _contents(journal_path(directory, index))
        except FileNotFoundError:
            return events, size
        while offset + HEADER_BYTES <= len(buffer):
            length = HEADER.unpack_from(buffer, offset)[0] & LENGTH_MASK
            if length in (0, ROTATED):
                break
            if offset + HEADER_BYTES + length > len(buffer):
                # It is damaged: count on from where a reader would go on.
                offset = resynchronise(buffer, offset) or len(buffer)
                continue
            events += 1
            size += length
            offset += frame_bytes(length)
        index, offset = index + 1, 0


def _contents(path: Path) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(fd, os.fstat(fd).st_size, 0)
    finally:
        os.close(fd)
