"""PackageFile: one file of a package: lines, compressed by gzip, and encrypted unless nobody is named to read them."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec

from dispatcher.exports.research_package.gnupg import Encryption, PublicKey
from dispatcher.process import system_calls

# zlib's number for the form of gzip, which then has neither a name nor a time: the same bytes for the same lines.
_GZIP_BITS: Final = 31
_GZIP_LEVEL: Final = 6


class FileCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What a file holds.

    Args:
        file: Its path within the export's directory.
        lines: How many lines it has.
        bytes: Its size.
        sha256_lines: Of the lines as they are.
        sha256_gzip: Of the lines compressed. The same in every export of the same lines.
        sha256: Of the file. Where it is encrypted, another one each time.
    """

    file: str
    lines: int
    bytes: int
    sha256_lines: str
    sha256_gzip: str
    sha256: str


class PackageFile:
    """A file that is being written, under a name that no reader looks for. Use it in one thread.

    Args:
        unfinished: Where it is written.
        keys: Who can read it; empty: everybody.
    """

    def __init__(self, unfinished: Path, keys: Sequence[PublicKey]) -> None:
        self._path = unfinished
        self._stack = ExitStack()
        self._file = self._stack.enter_context(unfinished.open("wb"))
        self._encryption = self._stack.enter_context(Encryption(keys, self._file)) if keys else None
        self._gzip = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_BITS)
        self._of_lines, self._of_gzip = hashlib.sha256(), hashlib.sha256()
        self._lines = 0

    def add(self, line: bytes) -> None:
        """Add a line, which has no line break. Blocks while gpg is behind.

        Raises:
            DispatcherError: gpg has failed.
            OSError: The disk is full.
        """
        content = line + b"\n"
        self._lines += 1
        self._of_lines.update(content)
        self._write(self._gzip.compress(content))

    def finish(self, target: Path, name: str) -> FileCounts:
        """Give it its name, once it is on disk. Raises as ``add``."""
        self._write(self._gzip.flush())
        if self._encryption is not None:
            self._encryption.finish()
        self._file.flush()
        system_calls.sync(self._file.fileno())
        self.close()
        with self._path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
        target.parent.mkdir(parents=True, exist_ok=True)
        self._path.rename(target)
        return FileCounts(
            file=name,
            lines=self._lines,
            bytes=size,
            sha256_lines=self._of_lines.hexdigest(),
            sha256_gzip=self._of_gzip.hexdigest(),
            sha256=digest,
        )

    def close(self) -> None:
        """Let go of it. What was not finished stays unfinished."""
        self._stack.close()

    def _write(self, content: bytes) -> None:
        if not content:
            return
        self._of_gzip.update(content)
        if self._encryption is None:
            self._file.write(content)
        else:
            self._encryption.write(content)
