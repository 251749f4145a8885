"""LogPart: what one process reads at a time: a range of a plain log, or all of a compressed one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import msgspec

from dispatcher.edx_log.packed_stream import is_packed
from dispatcher.edx_log.source import decompressed
from dispatcher.errors import DispatcherError

if TYPE_CHECKING:
    from dispatcher.exports.bucket.log_object import LogObject

#: Bytes of a plain log in one part: some seconds of work, which an interrupted export does again.
PART_BYTES: Final = 256 << 20
# Bytes by which a log is known again under another name.
_HEAD_BYTES: Final = 64 << 10
# Few enough that lines are still in the processor's cache when they are read.
_BLOCK_BYTES: Final = 1 << 18
# Less: what was asked for together is lost together, where the file is damaged.
_PACKED_BLOCK_BYTES: Final = 1 << 16
# As for replay: a line with more bytes holds no event.
_MAX_LINE_BYTES: Final = 16 << 20
_DIGEST_CHARACTERS: Final = 24


class LogPart(msgspec.Struct, frozen=True, kw_only=True):
    """A range of a log.

    Args:
        path: The log: a file, or an object of a bucket.
        head: A digest of the log's beginning; of an object's address, size and e-tag.
        start: The position of the first line, in bytes of the file. 0 for a compressed one.
        end: The position behind the last byte, as the file was when the export began.
        first_number: The number of the first line, counted from 1.
        is_compressed: Whether the whole file is this part, and may be compressed.
    """

    path: Path | LogObject
    head: str
    start: int
    end: int
    first_number: int
    is_compressed: bool

    @property
    def name(self) -> str:
        """The same for the same bytes, whatever the log is called now."""
        return f"{self.head}-{self.start}-{self.end}"


class LineBlock(msgspec.Struct, gc=False):
    """Some lines, one after another.

    Args:
        first_number: The number of the first.
        lines: Without their line breaks. None is one that was too long.
        consumed: Bytes of the file that were read for the part so far.
        is_unfinished: Whether the last line has no line break: a writer may be at work on it.
    """

    first_number: int
    lines: Sequence[bytes | None]
    consumed: int
    is_unfinished: bool = False


def split_log(path: Path | LogObject, part_bytes: int = PART_BYTES) -> list[LogPart]:
    """The parts of a log as long as it is now. Reads a plain log that is longer than a part once, for its line numbers.

    Raises:
        OSError: The log cannot be read.
        BucketError: The bucket does not answer.
    """
    if not isinstance(path, Path) and path.size <= part_bytes:
        return [_whole(path, path.head, path.size)]  # not opened: there may be thousands
    with path.open("rb") as file:
        beginning = file.read(_HEAD_BYTES)
        size = file.seek(0, 2)
        head = _digest(beginning) if isinstance(path, Path) else path.head
        if is_packed(beginning):
            return [_whole(path, head, size)]
        parts: list[LogPart] = []
        start, number = 0, 1
        while start < size:
            end, lines = _find_end(file, start, min(size, start + part_bytes), size)
            parts.append(LogPart(path=path, head=head, start=start, end=end, first_number=number, is_compressed=False))
            start, number = end, number + lines
        return parts


def _whole(path: Path | LogObject, head: str, size: int) -> LogPart:
    return LogPart(path=path, head=head, start=0, end=size, first_number=1, is_compressed=True)


def _digest(beginning: bytes) -> str:
    return hashlib.sha256(beginning).hexdigest()[:_DIGEST_CHARACTERS]


def _find_end(file: IO[bytes], start: int, wanted: int, size: int) -> tuple[int, int]:
    """The end of the line in which ``wanted`` lies, and how many lines there are up to it."""
    if wanted == size:
        return size, 0  # nobody asks for the number of a line behind the last one
    file.seek(start)
    lines, position = 0, start
    while position < size:
        block = file.read(_BLOCK_BYTES if position < wanted else min(_BLOCK_BYTES, size - position))
        if not block:
            break
        if position + len(block) > wanted:
            found = block.find(b"\n", max(0, wanted - 1 - position))
            if found >= 0:
                return position + found + 1, lines + block.count(b"\n", 0, found + 1)
        lines += block.count(b"\n")
        position += len(block)
    return size, lines


def read_blocks(part: LogPart) -> Iterator[LineBlock]:
    """The lines of a part, in bounded memory.

    Raises:
        DispatcherError: The log is another one now.
        BucketError: The bucket does not answer.
        OSError, EOFError: As ``READ_ERRORS`` of ``Source``: it cannot be read on.
    """
    with part.path.open("rb") as raw:
        # Objects are read by their e-tags.
        if isinstance(part.path, Path) and _digest(raw.read(_HEAD_BYTES)) != part.head:
            raise DispatcherError(
                f"{part.path} is another log than when the export began: it was rotated. Export again; what was read "
                "is kept"
            )
        raw.seek(part.start)
        read = decompressed(raw).read1 if part.is_compressed else raw.read
        left = part.end - part.start
        rest: list[bytes] = []
        rest_bytes, number = 0, part.first_number
        while True:
            block = read(_PACKED_BLOCK_BYTES if part.is_compressed else min(_BLOCK_BYTES, left))
            left -= len(block)
            if not block:
                break
            *lines, last = block.split(b"\n")
            if lines:
                whole: list[bytes | None] = [*lines]
                if rest_bytes:
                    whole[0] = b"".join((*rest, lines[0])) if rest_bytes + len(lines[0]) <= _MAX_LINE_BYTES else None
                yield LineBlock(number, whole, raw.tell() - part.start)
                number += len(lines)
                rest, rest_bytes = [], 0
            rest_bytes += len(last)
            # What is too long is counted and not kept.
            rest = [*rest, last] if rest_bytes <= _MAX_LINE_BYTES else []
        if rest_bytes:
            last_line = b"".join(rest) if rest_bytes <= _MAX_LINE_BYTES else None
            yield LineBlock(number, [last_line], raw.tell() - part.start, is_unfinished=True)
