"""PackedWriter: writes lines compressed as another file was, with the note that it had beside its lines."""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Final, Protocol

import zstandard

from dispatcher.edx_log.log_note import gzip_head, read_gzip_extra, read_zstd_note, zstd_frame
from dispatcher.edx_log.packed_stream import MAGIC_BYTES, is_packed

_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_ZSTD_LEVEL: Final = 3
_GZIP_LEVEL: Final = 6
# Behind a member of gzip: the checksum and the size of its contents.
_GZIP_TAIL: Final = struct.Struct("<II")


class Writer(Protocol):
    """What takes lines."""

    def write(self, content: bytes, /) -> object:
        """Take some more."""
        ...


@contextmanager
def packed_as(original: IO[bytes], file: IO[bytes]) -> Iterator[Writer]:
    """What compresses as a file is compressed, and writes its note; a plain file's lines stay plain.

    Args:
        original: The file, at its beginning, where it is left.
        file: Where to.

    Raises:
        OSError: The original cannot be read, or the file not written.
    """
    start = original.read(MAGIC_BYTES)
    original.seek(0)
    if start.startswith(_ZSTD_MAGIC):
        note = read_zstd_note(original)
        with zstandard.ZstdCompressor(level=_ZSTD_LEVEL).stream_writer(file, closefd=False) as packed:
            yield packed
        file.write(zstd_frame(note) if note else b"")
    elif not is_packed(start):
        with open(os.dup(file.fileno()), "wb") as plain:
            yield plain
    elif extra := read_gzip_extra(original):
        member = _Member(file, extra)
        yield member
        member.finish()
    else:
        # The same bytes for the same lines: neither a name nor a time.
        with gzip.GzipFile("", "wb", _GZIP_LEVEL, file, mtime=0) as packed_file:
            yield packed_file


class _Member:
    """One member of gzip with an extra field, which Python's own cannot write."""

    def __init__(self, file: IO[bytes], extra: bytes) -> None:
        self._file = file
        self._packer = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._checksum = self._size = 0
        file.write(gzip_head(extra))

    def write(self, content: bytes, /) -> None:
        self._checksum = zlib.crc32(content, self._checksum)
        self._size += len(content)
        self._file.write(self._packer.compress(content))

    def finish(self) -> None:
        self._file.write(self._packer.flush())
        self._file.write(_GZIP_TAIL.pack(self._checksum, self._size & 0xFFFFFFFF))
