"""Files of dead letters that Redis has no room for: one letter a line, as JSON, packed by gzip.

A file is there whole or not at all, and never changes. It holds events, so it is its owner's only.
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
from typing import Final

import msgspec

from dispatcher.errors import DispatcherError
from dispatcher.outbox.memory_map import sync_file
from dispatcher.store.dead_letters import DeadLetter

# Seconds after which what is still unfinished was left by a worker that was killed.
_LEFT_SECONDS: Final = 3600.0
# The fastest level but one packs events by ten; the worker has better things to do.
_LEVEL: Final = 2


class LetterFileError(DispatcherError):
    """A file of dead letters cannot be read."""


_NOTHING: Final = msgspec.Raw(b"null")


class _Line(msgspec.Struct):
    letter: str
    reason: str
    error: str
    attempts: int
    count: int = 1
    event: msgspec.Raw = _NOTHING
    #: What is no event, in base64.
    other: str = ""


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(_Line).decode


def directory_of(state_directory: Path) -> Path:
    """Where a worker with this state directory puts the files."""
    return state_directory / "dead"


def write(directory: Path, destination: str, letters: Iterable[DeadLetter]) -> Path:
    """Make a file of letters of one destination. It is on the disk once this returns. Raises OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    _clean(directory, destination)
    name = f"{destination}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{token_hex(4)}.jsonl.gz"
    unfinished = directory / f".{name}"
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=_LEVEL) as packed:
                for letter in letters:
                    packed.write(_encode(_line(letter)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(directory / name)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink()
        raise
    sync_file(directory)  # have the name on the disk too
    return directory / name


def read(path: Path, destination: str) -> Iterator[DeadLetter]:
    """The letters of a file, in order. Raises LetterFileError."""
    try:
        with gzip.open(path, "rb") as file:
            for line in file:
                yield _letter(destination, _decode(line))
    except (OSError, EOFError, zlib.error, msgspec.DecodeError, ValueError) as error:
        raise LetterFileError(f"{path} cannot be read as a file of dead letters: {error}") from error


def _line(letter: DeadLetter) -> _Line:
    line = _Line(letter.id, letter.reason, letter.error, letter.attempts, letter.count)
    if letter.event is None or b"\n" in letter.payload:
        line.other = base64.b64encode(letter.payload).decode()
    else:
        line.event = msgspec.Raw(letter.payload)
    return line


def _letter(destination: str, line: _Line) -> DeadLetter:
    return DeadLetter(
        destination=destination,
        id=line.letter,
        reason=line.reason,
        error=line.error,
        attempts=line.attempts,
        payload=base64.b64decode(line.other) if bytes(line.event) == _NOTHING else bytes(line.event),
        count=line.count,
    )


def _clean(directory: Path, destination: str) -> None:
    for left in directory.glob(f".{destination}-*.jsonl.gz"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _LEFT_SECONDS:
                left.unlink()
