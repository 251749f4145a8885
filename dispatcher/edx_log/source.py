"""Source: a log to be read line by line, from a file, a compressed one, or standard input. Memory stays flat."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, Final, Self

from dispatcher.edx_log.packed_stream import MAGIC_BYTES, open_packed

# Bytes read at a time where lines do not matter.
_CHUNK_BYTES: Final = 1 << 20
# Bytes of a compressed log that are taken at a time.
_BUFFER_BYTES: Final = 1 << 13
# A line with more bytes holds no event: well above every outbox.max_event_bytes that makes sense.
_MAX_LINE_BYTES: Final = 16 << 20
# Bytes at the end of a line by which it is known again: edX's format has the time there.
_TAIL_BYTES: Final = 256
#: What a compressed file that is damaged or cut off raises when it is read, and a disk that fails.
READ_ERRORS: Final = (OSError, EOFError)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a log.

    Args:
        number: Counted from 1.
        end: The position behind it, in bytes of the log as it was before it was compressed.
        content: Its bytes, with the line break; cut off where it is longer than an event can be.
        tail: Its last bytes, by which the place is known again.
        is_too_long: Whether ``content`` was cut off.
    """

    number: int
    end: int
    content: bytes
    tail: bytes
    is_too_long: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether it has its line break; otherwise a writer may still be at work on it."""
        return self.is_too_long or self.content.endswith(b"\n")


def decompressed(raw: Any) -> BufferedReader:
    """What a file holds: itself where it is plain. Read it from its beginning.

    Args:
        raw: A binary file that can ``peek``, such as ``open`` returns.
    """
    packed = open_packed(raw, raw.peek(MAGIC_BYTES)[:MAGIC_BYTES])
    found: BufferedReader = raw if packed is None else BufferedReader(packed, _BUFFER_BYTES)
    return found


class Source:
    """A log. A context manager, which opens the file; read it once, from the beginning, in one thread.

    Args:
        path: A file, plain or compressed with gzip or zstd, whatever it is called; ``-`` is standard input.
    """

    def __init__(self, path: Path) -> None:
        self.name: Final = "standard input" if str(path) == "-" else str(path)
        self._path = path
        self._raw: BufferedReader | None = None
        self._file: IO[bytes] | None = None
        self._first = b""
        #: The position behind the last line that was read, and the number of that line.
        self.position = 0
        self.line_number = 0

    @property
    def size(self) -> int | None:
        """Bytes on disk; None for anything but a regular file."""
        with suppress(OSError):
            if str(self._path) != "-" and self._path.is_file():
                return self._path.stat().st_size
        return None

    @property
    def consumed(self) -> int:
        """Bytes on disk that were read so far, for a progress bar; 0 where ``size`` is None."""
        if self._raw is None or self.size is None:
            return 0
        return os.lseek(self._raw.fileno(), 0, os.SEEK_CUR)

    def __enter__(self) -> Self:
        # What replaces standard input may not be able to peek.
        raw: Any = BufferedReader(sys.stdin.buffer) if str(self._path) == "-" else self._path.open("rb")
        self._raw = raw
        self._file = decompressed(raw)
        return self

    def __exit__(self, *_: object) -> None:
        if self._raw is not None and str(self._path) != "-":
            self._raw.close()
        self._raw = self._file = None

    def first_line(self) -> bytes:
        """The first line, or as much of it as an event can have. What reads next gets it again."""
        assert self.position == 0, "it was read already"
        if not self._first:
            self._first = self._open.readline(_MAX_LINE_BYTES)
        return self._first

    def go_to(self, position: int, *, number: int, tail: bytes) -> bool:
        """Go to the position behind a line that an earlier run has read.

        Args:
            position: The position.
            number: The line's number.
            tail: The line's tail.

        Returns:
            False where the log does not hold that line there.
        """
        if not self._skip(position - len(tail)):
            return False
        content = self._read(len(tail))
        self.position += len(content)
        self.line_number = number
        return content == tail

    def skip_to(self, position: int) -> bool:
        """Read on up to a position between two lines. False where the log ends before."""
        while self.position < position:
            chunk = self._read(min(_CHUNK_BYTES, position - self.position))
            if not chunk:
                return False
            self.position += len(chunk)
            self.line_number += chunk.count(b"\n")
        return True

    def lines(self) -> Iterator[Line]:
        """The lines from here on, in bounded memory. Raises one of ``READ_ERRORS`` where the log cannot be read on."""
        while content := self._readline():
            self.line_number += 1
            is_too_long = len(content) >= _MAX_LINE_BYTES and not content.endswith(b"\n")
            self.position += len(content)
            last = content
            while is_too_long and not last.endswith(b"\n") and (rest := self._open.readline(_CHUNK_BYTES)):
                self.position += len(rest)
                last = rest
            yield Line(self.line_number, self.position, content, last[-_TAIL_BYTES:], is_too_long)

    @property
    def _open(self) -> IO[bytes]:
        assert self._file is not None, "open it with `with`"
        return self._file

    def _readline(self) -> bytes:
        first, self._first = self._first, b""
        return first or self._open.readline(_MAX_LINE_BYTES)

    def _skip(self, position: int) -> bool:
        raw = self._raw
        if self._file is not raw or raw is None or not raw.seekable():
            return self.skip_to(position)
        self._first = b""
        self.position = raw.seek(position)
        return True

    def _read(self, size: int) -> bytes:
        if not self._first:
            return self._open.read(size)
        content, self._first = self._first[:size], self._first[size:]
        return content
