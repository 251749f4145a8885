"""Files of the dead letters that Redis has no room for: one dead letter a line, as JSON, packed by gzip.

A file is there as a whole or not at all, and never changes. It holds events, so only its owner can read it.
"""

from __future__ import annotations

import base64
import gzip
import os
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Final, Self

import msgspec

from dispatcher.errors import DispatcherError
from dispatcher.outbox.memory_map import sync_file
from dispatcher.process.system_calls import sync
from dispatcher.secrecy.safe_text import escape_payload
from dispatcher.store.dead_letter import DeadLetter

# Seconds after which an unfinished file belongs to a worker that was killed.
_ABANDONED_SECONDS: Final = 3600.0
# The fastest level but one packs events to a tenth; the worker has better things to do than to gain more.
_LEVEL: Final = 2

_NULL: Final = b"null"


class DeadLetterFileError(DispatcherError):
    """A file of dead letters cannot be read."""


class _Line(msgspec.Struct):
    letter: str
    reason: str
    error: str
    attempts: int
    count: int = 1
    event: msgspec.Raw = msgspec.Raw(_NULL)
    #: In base64: a payload without an event in it.
    other: str = ""
    answer: str = ""

    @classmethod
    def from_dead_letter(cls, dead_letter: DeadLetter) -> Self:
        line = cls(dead_letter.id, dead_letter.reason, dead_letter.error, dead_letter.attempts, dead_letter.count)
        line.answer = dead_letter.answer
        if dead_letter.event is None or b"\n" in dead_letter.payload:
            line.other = base64.b64encode(dead_letter.payload).decode()
        else:
            line.event = msgspec.Raw(dead_letter.payload)
        return line

    def to_dead_letter(self, destination: str) -> DeadLetter:
        event = bytes(self.event)
        return DeadLetter(
            destination=destination,
            id=self.letter,
            reason=self.reason,
            error=self.error,
            attempts=self.attempts,
            payload=base64.b64decode(self.other) if event == _NULL else event,
            count=self.count,
            answer=self.answer,
        )


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(_Line).decode


def directory_of(state_directory: Path) -> Path:
    """Where a worker with this state directory puts the files."""
    return state_directory / "dead"


def write(directory: Path, destination: str, dead_letters: Iterable[DeadLetter]) -> Path:
    """Make a file of dead letters of one destination. Blocks; the file is on the disk once this returns.

    Several processes and threads may do so at once. Raises OSError; then no file is left.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    _delete_abandoned(directory, destination)
    name = f"{destination}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{token_hex(4)}.jsonl.gz"
    unfinished = directory / f".{name}"
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=_LEVEL) as packed:
                for dead_letter in dead_letters:
                    packed.write(escape_payload(_encode(_Line.from_dead_letter(dead_letter))) + b"\n")
            file.flush()
            sync(file.fileno())
        unfinished.rename(directory / name)
    except BaseException:
        with suppress(OSError):  # what was raised counts; a file that stays is removed with other unfinished ones
            unfinished.unlink()
        raise
    sync_file(directory)  # the file's name too
    return directory / name


def destination_of(path: Path) -> str:
    """Whose dead letters a file has, by its name."""
    return path.name.rsplit("-", 3)[0]


def read(path: Path, destination: str) -> Iterator[DeadLetter]:
    """Read the dead letters of a file, in order.

    Raises:
        DeadLetterFileError: It is another file, or damaged, or cannot be opened.
    """
    try:
        with gzip.open(path, "rb") as file:
            for line in file:
                yield _decode(line).to_dead_letter(destination)
    except (OSError, EOFError, zlib.error, msgspec.DecodeError, ValueError) as error:
        raise DeadLetterFileError(f"{path} cannot be read as a file of dead letters: {error}") from error


def _delete_abandoned(directory: Path, destination: str) -> None:
    for unfinished in directory.glob(f".{destination}-*.jsonl.gz"):
        with suppress(OSError):
            if time.time() - unfinished.stat().st_mtime > _ABANDONED_SECONDS:
                unfinished.unlink()
