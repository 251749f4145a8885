"""LogReader: one log, plain or compressed, looked through in blocks. Memory stays flat."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from dispatcher.edx_log.packed_stream import MAGIC_BYTES, is_packed
from dispatcher.edx_log.source import READ_ERRORS, decompressed
from dispatcher.errors import DispatcherError
from dispatcher.forgetting.search import LineSearch

if TYPE_CHECKING:
    from dispatcher.exports.bucket.log_object import LogObject

# Bytes that are looked through at a time: so large that a line more or less does not matter, and so small that they
# stay in the processor's cache.
_BLOCK_BYTES: Final = 1 << 17
# A line with more bytes holds something else than an event. It is read on without being kept.
_MAX_LINE_BYTES: Final = 256 << 20
# Blocks whose lines are counted, and of how many later ones one is.
_COUNTED_BLOCKS: Final = 16
_LINE_BREAK: Final = 0x0A

#: Told how many bytes of the log were read.
Consume = Callable[[int], None]


class LogFileError(DispatcherError):
    """A log cannot be read to its end, or must not be replaced; says why and what to do. It is as it was."""


class FilePart(msgspec.Struct, frozen=True, kw_only=True):
    """A range of whole lines of a file.

    Args:
        start: The position of its first line.
        end: The position behind its last one; None: the end of the file, however long it is by then.
        inode: The file's, by which it is known to be the same; None: it does not matter.
    """

    start: int = 0
    end: int | None = None
    inode: int | None = None


#: The whole of a file.
WHOLE: Final = FilePart()


def parts_of(path: Path, part_bytes: int) -> list[FilePart]:
    """Parts of a file that can be read by several processes. A compressed file is one part. Raises OSError.

    Args:
        path: The file.
        part_bytes: How long a part is, up to the end of its last line.
    """
    with path.open("rb") as raw:
        if is_packed(raw.peek(MAGIC_BYTES)[:MAGIC_BYTES]):
            return [WHOLE]
        file = os.fstat(raw.fileno())
        starts = [0]
        while starts[-1] + part_bytes < file.st_size:
            raw.seek(starts[-1] + part_bytes)
            while not (piece := raw.readline(_BLOCK_BYTES)).endswith(b"\n") and piece:
                pass
            starts.append(raw.tell())
    ends = [*starts[1:], None]
    return [FilePart(start=start, end=end, inode=file.st_ino) for start, end in zip(starts, ends, strict=True)]


class LogReader:
    """A log to be looked through. For one thread.

    Args:
        log: A file, or an object of a bucket; plain, or compressed with gzip or zstd.
    """

    def __init__(self, log: Path | LogObject) -> None:
        self._log = log

    def blocks(self) -> Iterator[bytes]:
        """All of it, unpacked, some whole lines at a time. Raises as ``count``."""
        with self._log.open("rb") as raw:
            for block, end in self._blocks(raw, ignore):
                yield block[:end]

    def count(self, search: LineSearch, consume: Consume, part: FilePart = WHOLE) -> tuple[int, int]:
        """How many lines name the person, and how many there are, in a large file about. Reads the file once.

        Args:
            search: Finds the lines.
            consume: Told how many bytes of the file were read.
            part: Where to look.

        Raises:
            LogFileError: It cannot be read to its end, or is another file by now.
            OSError: It cannot be opened.
        """
        named = lines = read = counted = 0
        with self._log.open("rb") as raw:
            if part.inode is not None and part.inode != os.fstat(raw.fileno()).st_ino:
                raise LogFileError(f"{self._log} was rotated while it was read: run it again")
            for number, (block, end) in enumerate(self._blocks(raw, consume, part)):
                named += len(search.find(block, end))
                read += end
                # To count costs as much as to look: behind the first blocks some stand for all.
                if number < _COUNTED_BLOCKS or number % _COUNTED_BLOCKS == 0:
                    lines += block.count(b"\n", 0, end) + (block[end - 1] != _LINE_BREAK)
                    counted += end
        return named, round(lines * read / counted) if counted else 0

    def _blocks(self, raw: BufferedReader, consume: Consume, part: FilePart = WHOLE) -> Iterator[tuple[bytes, int]]:
        """Lines, some at a time, and where the last whole one ends: at the end of the file that may lack its break."""
        is_compressed = is_packed(raw.peek(MAGIC_BYTES)[:MAGIC_BYTES])
        file = decompressed(raw) if is_compressed else raw
        rest: list[bytes] = []
        consumed = part.start
        if part.start:
            raw.seek(part.start)
        while block := self._read(file, _BLOCK_BYTES if part.end is None else min(_BLOCK_BYTES, part.end - raw.tell())):
            at = raw.raw.tell()
            consume(at - consumed)
            consumed = at
            end = block.rfind(b"\n") + 1
            if not end:
                rest.append(block)
                if len(rest) * _BLOCK_BYTES > _MAX_LINE_BYTES:
                    raise LogFileError(
                        f"{self._log} has a line of more than {_MAX_LINE_BYTES >> 20} MiB: is it a log? See by hand"
                    )
                continue
            text = b"".join((*rest, block)) if rest else block
            yield text, len(text) - len(block) + end
            rest = [block[end:]] if end < len(block) else []
        if rest:
            text = b"".join(rest)
            yield text, len(text)

    def _read(self, file: BufferedReader, size: int) -> bytes:
        try:
            return file.read(size)
        except READ_ERRORS as error:
            raise LogFileError(
                f"{self._log} cannot be read to its end: {str(error) or type(error).__name__}; mend it, or move it away"
            ) from error


def ignore(_: int) -> None:
    """Nobody watches."""
