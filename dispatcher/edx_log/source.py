"""Source: a log to be read line by line, from a file, a compressed one, or standard input. Memory stays flat."""

from __future__ import annotations

import gzip
import os
import sys
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, Final, Self

_GZIP_MAGIC: Final = b"\x1f\x8b"
# Bytes read at a time where lines do not matter.
_CHUNK_BYTES: Final = 1 << 20
# Bytes of a line beyond which it is no event: well above every outbox.max_event_bytes that makes sense.
_MAX_LINE_BYTES: Final = 16 << 20
# Bytes of a line that tell it from others: the end of it, where edX's format has the time.
_TAIL_BYTES: Final = 256
#: What reading a compressed file that is damaged or cut off raises, and a disk that fails.
READ_ERRORS: Final = (OSError, EOFError, zlib.error)


@dataclass(frozen=True, slots=True)
class Line:
    """One line. Positions count bytes of the log as it was before it was compressed.

    Args:
        number: Counted from 1.
        end: The position behind it.
        content: Its bytes, with the line break; cut off where it is longer than an event can be.
        tail: The last of its bytes, to know the place again by.
        is_too_long: Whether it was cut off.
    """

    number: int
    end: int
    content: bytes
    tail: bytes
    is_too_long: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether its end was written yet."""
        return self.is_too_long or self.content.endswith(b"\n")


class Source:
    """A log. A context manager; read it once, from the beginning, in one thread.

    Args:
        path: A file, plain or compressed with gzip, whatever it is called; ``-`` is standard input.
    """

    def __init__(self, path: Path) -> None:
        self.name: Final = "standard input" if str(path) == "-" else str(path)
        self._path = path
        self._raw: BufferedReader | None = None
        self._file: IO[bytes] | None = None
        self._first = b""
        #: Behind the last line that was read.
        self.position = 0
        self._number = 0

    @property
    def size(self) -> int | None:
        """Bytes on disk; None where nobody knows."""
        with suppress(OSError):
            if str(self._path) != "-" and self._path.is_file():
                return self._path.stat().st_size
        return None

    @property
    def consumed(self) -> int:
        """Bytes on disk that were read so far, for a progress bar."""
        if self._raw is None or self.size is None:
            return 0
        return os.lseek(self._raw.fileno(), 0, os.SEEK_CUR)

    def __enter__(self) -> Self:
        # Whatever stands in for standard input has to be able to look ahead.
        raw: Any = BufferedReader(sys.stdin.buffer) if str(self._path) == "-" else self._path.open("rb")
        self._raw = raw
        file: Any = gzip.GzipFile(fileobj=raw) if raw.peek(2)[:2] == _GZIP_MAGIC else raw
        self._file = file
        return self

    def __exit__(self, *_: object) -> None:
        if self._raw is not None and str(self._path) != "-":
            self._raw.close()
        self._raw = self._file = None

    def first_line(self) -> bytes:
        """The first line, or as much of it as an event can have. It is read again by whoever reads next."""
        assert self.position == 0, "it was read already"
        if not self._first:
            self._first = self._open.readline(_MAX_LINE_BYTES)
        return self._first

    def go_to(self, position: int, *, number: int, tail: bytes) -> bool:
        """Go on behind a line that was read before. False where the log does not hold that line there."""
        if not self._skip(position - len(tail)):
            return False
        found = self._read(len(tail))
        self.position += len(found)
        self._number = number
        return found == tail

    def skip_to(self, position: int) -> bool:
        """Read on up to a position between two lines. False where the log ends before."""
        while self.position < position:
            chunk = self._read(min(_CHUNK_BYTES, position - self.position))
            if not chunk:
                return False
            self.position += len(chunk)
            self._number += chunk.count(b"\n")
        return True

    def lines(self) -> Iterator[Line]:
        """The lines from here on. Raises one of ``READ_ERRORS`` where the log cannot be read on."""
        while content := self._readline():
            self._number += 1
            is_too_long = len(content) >= _MAX_LINE_BYTES and not content.endswith(b"\n")
            self.position += len(content)
            last = content
            while is_too_long and not last.endswith(b"\n") and (rest := self._open.readline(_CHUNK_BYTES)):
                self.position += len(rest)
                last = rest
            yield Line(self._number, self.position, content, last[-_TAIL_BYTES:], is_too_long)

    @property
    def line_number(self) -> int:
        """The number of the last line that was read."""
        return self._number

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

    def _read(self, most: int) -> bytes:
        if not self._first:
            return self._open.read(most)
        found, self._first = self._first[:most], self._first[most:]
        return found
