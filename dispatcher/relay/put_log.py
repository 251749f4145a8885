"""PutLog: files beside an outbox's journals that record what was put, and into which batches. They outlive the relay.

A range is recorded before it is put. So the next relay of the outbox knows what the store has to have, and splits the
same events into the same batches, by whose ids a destination knows what it has got.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from dispatcher.outbox.journal import NOTES_SUFFIX, frame, notes_path, parse
from dispatcher.outbox.listing import names

logger = logging.getLogger(__name__)


class PutRange(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A journal range that is put in one round trip.

    Args:
        start: The position where it begins.
        end: The position where it ends.
        batches: The range of each batch as (start, end), by destination.
        slots: The slot of each destination to which the journal belongs, where that is not 0.
        duplicates: The ends of the events that had come before, which are in no batch; None where nobody asked.
    """

    start: int
    end: int
    batches: Mapping[str, Sequence[tuple[int, int]]]
    slots: Mapping[str, int] = {}
    duplicates: Sequence[int] | None = None


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(PutRange)


class PutLog:
    """The put log of one outbox. For the one thread of its relay.

    An entry stands in the file whose number is that of the journal in which its range ends, framed as the journal's
    own events, and is deleted with that journal. A power cut may take the entries of the last second
    (``outbox.sync_seconds``).

    Args:
        directory: The outbox.
        journal_bytes: The size of its journals.
    """

    def __init__(self, directory: Path, *, journal_bytes: int) -> None:
        self._directory = directory
        self._journal_bytes = journal_bytes
        self._is_failing = False

    def read(self) -> list[PutRange]:
        """All entries, ordered by start. The rest of a file behind the last whole entry is cut off.

        A kill or a power cut may leave half an entry.

        Raises:
            OSError: A file cannot be read.
        """
        entries: list[PutRange] = []
        for name in sorted(name for name in names(self._directory) if name.endswith(NOTES_SUFFIX)):
            entries += _read_file(self._directory / name)
        return sorted(entries, key=lambda entry: entry.start)

    def append(self, entry: PutRange) -> None:
        """Record a range; the entry outlives the process once this returns. Takes some 10 µs.

        On a full disk the relay has to go on, since that is what makes room. A warning is logged then, and only this
        relay knows what was put.
        """
        path = notes_path(self._directory, max(0, entry.end - 1) // self._journal_bytes)
        try:
            _append(path, frame(_encoder.encode(entry)))
        except OSError as error:
            if not self._is_failing:
                logger.warning("what is put from %s cannot be recorded beside it: %s", self._directory, error)
            self._is_failing = True
        else:
            self._is_failing = False


def _append(path: Path, content: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        written = os.write(fd, content)
        if written < len(content):
            os.ftruncate(fd, os.fstat(fd).st_size - written)
            raise OSError(f"{path} took {written} of {len(content)} bytes")
    finally:
        os.close(fd)


def _read_file(path: Path) -> list[PutRange]:
    try:
        frames = parse(path.read_bytes())
    except FileNotFoundError:
        return []  # deleted with its journal in the meantime
    entries: list[PutRange] = []
    end = 0
    for payload, behind in zip(frames.payloads, frames.ends, strict=True):
        try:
            entries.append(_decoder.decode(payload))
        except msgspec.MsgspecError:
            break
        end = behind
    if path.stat().st_size > end:
        os.truncate(path, end)  # else what is appended next could not be found
    return entries
