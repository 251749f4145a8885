"""PackedStream: what a compressed file holds, up to its end or to where it is damaged. Memory stays flat."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from contextlib import suppress
from io import RawIOBase
from typing import Any, Final, Protocol

import zstandard

_zlib: Any = zlib
# Four times as fast as Python's own; it comes with the exports.
with suppress(ImportError):
    from isal import isal_zlib as _zlib

# RFC 1952 §2.3.1 and RFC 8878 §3.1.1.
_GZIP_MAGIC: Final = b"\x1f\x8b"
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
#: Bytes by which a compressed file is known.
MAGIC_BYTES: Final = len(_ZSTD_MAGIC)
# zlib's number for the form of gzip, with its checksum.
_GZIP_BITS: Final = 31
# Bytes that are decompressed at a time: as many may be lost in front of a damage.
_PACKED_BYTES: Final = 4096
_DAMAGES: Final[tuple[type[Exception], ...]] = (zlib.error, _zlib.error, zstandard.ZstdError)


class _Decompressor(Protocol):
    """What gzip's and zstd's decompressors have in common: each is for one member, or frame."""

    @property
    def eof(self) -> bool:
        """Whether the member's end was reached."""
        ...

    @property
    def unused_data(self) -> bytes:
        """What came behind the member's end."""
        ...

    def decompress(self, data: bytes, /) -> bytes:
        """What more of the member holds."""
        ...


def open_packed(raw: Any, start: bytes) -> PackedStream | None:
    """What a compressed file holds; None for one that is not compressed.

    Args:
        raw: The file, open for reading, at its beginning.
        start: Its first bytes, ``MAGIC_BYTES`` of them.
    """
    if start.startswith(_ZSTD_MAGIC):
        return PackedStream(raw, lambda: zstandard.ZstdDecompressor().decompressobj())
    return PackedStream(raw, lambda: _zlib.decompressobj(_GZIP_BITS)) if start.startswith(_GZIP_MAGIC) else None


def is_packed(start: bytes) -> bool:
    """Whether a file that begins so is compressed."""
    return start.startswith((_GZIP_MAGIC, _ZSTD_MAGIC))


class PackedStream(RawIOBase):
    """Reads members or frames one after another, as tools that rotate logs write them. For one thread.

    Behind all that could be read it raises EOFError where the file ends within a member, OSError where it is damaged.

    Args:
        raw: The compressed file.
        make: Makes what decompresses one member.
    """

    def __init__(self, raw: Any, make: Callable[[], Any]) -> None:
        self._raw = raw
        self._make = make
        self._member: _Decompressor | None = None
        self._packed = b""
        self._content = memoryview(b"")

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fill what there is room for; 0 at the end. See ``io.RawIOBase``."""
        while not self._content:
            packed = self._packed or self._raw.read(_PACKED_BYTES)
            self._packed = b""
            if not packed:
                if self._member is not None:
                    raise EOFError("the compressed file ends in the middle: it was cut off")
                return 0
            if self._member is None:
                # Some tools fill the last block of the disk up with zeros.
                packed = packed.lstrip(b"\0")
                if not packed:
                    continue
                self._member = self._make()
            try:
                self._content = memoryview(self._member.decompress(packed))
            except _DAMAGES as error:
                raise OSError(f"the compressed file is damaged: {error}") from error
            if self._member.eof:
                self._packed = self._member.unused_data
                self._member = None
        count = min(len(buffer), len(self._content))
        buffer[:count] = self._content[:count]
        self._content = self._content[count:]
        return count
