"""LogFile: one file of lines, plain or compressed, that is replaced at once by a shorter one."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import IO, Final

from dispatcher.forgetting.log_reader import Consume, LogFileError, LogReader
from dispatcher.forgetting.packed_writer import packed_as
from dispatcher.forgetting.search import LineSearch
from dispatcher.process.system_calls import sync

#: What a line becomes; None for nothing.
ChangeLine = Callable[[bytes], bytes | None]


class LogFile(LogReader):
    """A file of lines on a local disk. For one thread.

    Args:
        path: A plain file, or one that is compressed with gzip or zstd.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path: Final = path

    def rewrite(self, search: LineSearch, change: ChangeLine, consume: Consume) -> tuple[int, int]:
        """Replace the file by one in which each line that names the person is changed, or missing.

        The new file is whole and on the disk before it takes the name, and has the old one's note beside its lines, if
        there is one. Whoever reads the old one may read on.

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
        self, raw: BufferedReader, file: IO[bytes], search: LineSearch, change: ChangeLine, consume: Consume
    ) -> tuple[int, int]:
        named = lines = written = kept = 0
        with packed_as(raw, file) as target:
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
