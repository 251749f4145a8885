"""LogFile: one file of lines, plain or compressed, looked through in blocks; and replaced at once by a shorter one."""

from __future__ import annotations

import fcntl
import gzip
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, Final

import zstandard

from dispatcher.edx_log.packed_stream import MAGIC_BYTES, is_packed
from dispatcher.edx_log.source import READ_ERRORS, decompressed
from dispatcher.errors import DispatcherError
from dispatcher.forgetting.search import LineSearch
from dispatcher.process.system_calls import sync

# Bytes that are looked through at a time: so large that a line more or less does not matter, and so small that they
# stay in the processor's cache.
_BLOCK_BYTES: Final = 1 << 17
# A line with more bytes holds something else than an event. It is read on without being kept.
_MAX_LINE_BYTES: Final = 256 << 20
# Blocks whose lines are counted, and of how many later ones one is.
_COUNTED_BLOCKS: Final = 16
_LINE_BREAK: Final = 0x0A
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_ZSTD_LEVEL: Final = 3
_GZIP_LEVEL: Final = 6

#: Told how many bytes of the file were read.
Consume = Callable[[int], None]
#: What a line becomes; None for nothing.
Change = Callable[[bytes], bytes | None]


class LogFileError(DispatcherError):
    """A file cannot be read to its end, or must not be replaced; says why and what to do. It is as it was."""


class LogFile:
    """A file of lines. For one thread.

    Args:
        path: A plain file, or one that is compressed with gzip or zstd.
    """

    def __init__(self, path: Path) -> None:
        self.path: Final = path

    def blocks(self) -> Iterator[bytes]:
        """All of it, unpacked, some whole lines at a time. Raises as ``count``."""
        with self.path.open("rb") as raw:
            for block, end in self._blocks(raw, _ignore):
                yield block[:end]

    def count(self, search: LineSearch, consume: Consume) -> tuple[int, int]:
        """How many lines name the person, and how many there are, in a large file about. Reads the file once.

        Raises:
            LogFileError: It cannot be read to its end.
            OSError: It cannot be opened.
        """
        named = lines = read = counted = 0
        with self.path.open("rb") as raw:
            for number, (block, end) in enumerate(self._blocks(raw, consume)):
                named += len(search.find(block, end))
                read += end
                # To count costs as much as to look: behind the first blocks some stand for all.
                if number < _COUNTED_BLOCKS or number % _COUNTED_BLOCKS == 0:
                    lines += block.count(b"\n", 0, end) + (block[end - 1] != _LINE_BREAK)
                    counted += end
        return named, round(lines * read / counted) if counted else 0

    def rewrite(self, search: LineSearch, change: Change, consume: Consume) -> tuple[int, int]:
        """Replace the file by one in which each line that names the person is changed, or missing.

        The new file is whole and on the disk before it takes the name. Whoever reads the old one may read on.

        Args:
            search: Finds the lines.
            change: What becomes of one, without its line break.
            consume: Told how many bytes of the file were read.

        Returns:
            How many lines named the person, and how many there were.

        Raises:
            LogFileError: It cannot be read to its end, or somebody has changed it meanwhile. It is as it was.
            OSError: The disk is full, or somebody else's. The file is as it was.
        """
        unfinished = self.path.with_name(f".{self.path.name}.forget")
        with self.path.open("rb") as raw:
            before = os.fstat(raw.fileno())
            with suppress(FileNotFoundError):
                unfinished.unlink()  # of a run that was killed
            descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    counts = self._copy(raw, file, search, change, consume)
                    file.flush()
                    _take_over(file.fileno(), before)
                    sync(file.fileno())
                os.utime(unfinished, ns=(before.st_atime_ns, before.st_mtime_ns))
                now = os.stat(self.path)
                if (now.st_ino, now.st_size, now.st_mtime_ns) != (before.st_ino, before.st_size, before.st_mtime_ns):
                    raise LogFileError(f"{self.path} was changed while it was read: run it again")
                unfinished.replace(self.path)
            except BaseException:
                with suppress(OSError):  # what was raised counts; the next run removes a file that stays
                    unfinished.unlink()
                raise
        _sync_directory(self.path.parent)
        return counts

    def _copy(
        self, raw: BufferedReader, file: IO[bytes], search: LineSearch, change: Change, consume: Consume
    ) -> tuple[int, int]:
        named = lines = written = kept = 0
        start = raw.peek(MAGIC_BYTES)[:MAGIC_BYTES]
        with _compressed(file, start, self.path) as target:
            for whole, whole_end in self._blocks(raw, consume):
                block = whole[:whole_end]
                lines += block.count(b"\n") + (not block.endswith(b"\n"))
                found = search.find(block)
                named += len(found)
                parts = []
                behind = 0
                for first, end in found:
                    changed = change(block[first:end].removesuffix(b"\n"))
                    parts.append(block[behind:first])
                    if changed is not None:
                        parts += [changed, b"\n"]
                        kept += 1
                    behind = end
                text = b"".join((*parts, block[behind:])) if found else block
                if text:
                    written += text.count(b"\n") + (not text.endswith(b"\n"))
                    target.write(text)
        if lines != written + named - kept:
            raise LogFileError(
                f"{self.path} has {lines} lines, of which {named - kept} were to go and {written} would be left: "
                "it stays as it was; report this"
            )
        return named, lines

    def _blocks(self, raw: BufferedReader, consume: Consume) -> Iterator[tuple[bytes, int]]:
        """Lines, some at a time, and where the last whole one ends: at the end of the file that may lack its break."""
        is_compressed = is_packed(raw.peek(MAGIC_BYTES)[:MAGIC_BYTES])
        file = decompressed(raw) if is_compressed else raw
        rest: list[bytes] = []
        consumed = 0
        while block := self._read(file):
            at = os.lseek(raw.fileno(), 0, os.SEEK_CUR)
            consume(at - consumed)
            consumed = at
            end = block.rfind(b"\n") + 1
            if not end:
                rest.append(block)
                if len(rest) * _BLOCK_BYTES > _MAX_LINE_BYTES:
                    raise LogFileError(
                        f"{self.path} has a line of more than {_MAX_LINE_BYTES >> 20} MiB: is it a log? See by hand"
                    )
                continue
            text = b"".join((*rest, block)) if rest else block
            yield text, len(text) - len(block) + end
            rest = [block[end:]] if end < len(block) else []
        if rest:
            text = b"".join(rest)
            yield text, len(text)

    def _read(self, file: BufferedReader) -> bytes:
        try:
            return file.read(_BLOCK_BYTES)
        except READ_ERRORS as error:
            raise LogFileError(
                f"{self.path} cannot be read to its end: {str(error) or type(error).__name__}; mend it, or move it away"
            ) from error


def _ignore(_: int) -> None:
    """Nobody watches."""


def is_written_to(path: Path) -> bool:
    """Whether some process has the file open for writing. False where the system does not say."""
    with path.open("rb") as file:
        try:
            # A lease for reading is refused while anybody could write (fcntl(2), F_SETLEASE). It is given back at
            # once: who opened the file meanwhile would have this process be sent a signal.
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return False


def _compressed(file: IO[bytes], start: bytes, path: Path) -> Any:
    """What compresses as the file was; a context manager with ``write``."""
    if start.startswith(_ZSTD_MAGIC):
        return zstandard.ZstdCompressor(level=_ZSTD_LEVEL).stream_writer(file, closefd=False)
    if not is_packed(start):
        return open(os.dup(file.fileno()), "wb")
    # The same bytes for the same lines: neither a name nor a time.
    return gzip.GzipFile("", "wb", _GZIP_LEVEL, file, mtime=0)


def _take_over(descriptor: int, before: os.stat_result) -> None:
    os.fchmod(descriptor, before.st_mode & 0o7777)
    if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
        os.fchown(descriptor, before.st_uid, before.st_gid)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)
