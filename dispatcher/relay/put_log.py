"""PutLog: the notes beside an outbox's journals of what was put, and how it was cut. They outlive the relay.

A relay notes a stretch before it puts it. So whoever relays the outbox after it knows what the store has to have, and
cuts the same events into the same batches, by whose ids a destination knows what it has got.
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


class PutStretch(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Part of a journal that is put in one go: from where to where, and each destination's cuts as (start, end)."""

    start: int
    end: int
    cuts: Mapping[str, Sequence[tuple[int, int]]]


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(PutStretch)


class PutLog:
    """The notes of one outbox. For the one thread of its relay.

    The notes on what ends in a journal stand in a file of the same number, in frames as the journal's own, and are
    deleted with it. After a power cut those of the last second may be gone (``outbox.sync_seconds``).

    Args:
        directory: The outbox.
        journal_bytes: The size of its journals.
    """

    def __init__(self, directory: Path, *, journal_bytes: int) -> None:
        self._directory = directory
        self._journal_bytes = journal_bytes
        self._is_failing = False

    def read(self) -> list[PutStretch]:
        """All notes, by where they start. What is no whole note, as a kill or a power cut leaves it, is cut off.

        Raises:
            OSError: They cannot be read.
        """
        found: list[PutStretch] = []
        for name in sorted(name for name in names(self._directory) if name.endswith(NOTES_SUFFIX)):
            found += _read_file(self._directory / name)
        return sorted(found, key=lambda stretch: stretch.start)

    def append(self, stretch: PutStretch) -> None:
        """Note a stretch; it outlives the process once this returns. Takes some 10 µs.

        Where the disk is full the relay has to go on all the same, since that is what makes room: then the log says so,
        and what is put is known to this relay only.
        """
        path = notes_path(self._directory, max(0, stretch.end - 1) // self._journal_bytes)
        try:
            _append(path, frame(_encoder.encode(stretch)))
        except OSError as error:
            if not self._is_failing:
                logger.warning("what is put from %s cannot be noted beside it: %s", self._directory, error)
            self._is_failing = True
        else:
            self._is_failing = False


def _append(path: Path, note: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        written = os.write(fd, note)
        if written < len(note):
            os.ftruncate(fd, os.fstat(fd).st_size - written)
            raise OSError(f"{path} took {written} of {len(note)} bytes")
    finally:
        os.close(fd)


def _read_file(path: Path) -> list[PutStretch]:
    try:
        frames = parse(path.read_bytes())
    except FileNotFoundError:
        return []  # its journal was let go of in the meantime
    found: list[PutStretch] = []
    end = 0
    for payload, behind in zip(frames.payloads, frames.ends, strict=True):
        try:
            found.append(_decoder.decode(payload))
        except msgspec.MsgspecError:
            break
        end = behind
    if path.stat().st_size > end:
        os.truncate(path, end)  # else what is appended next could not be found
    return found
