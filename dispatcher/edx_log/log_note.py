"""LogNote: what a compressed log holds beside its lines, which readers of gzip and zstd pass over.

In gzip it is the extra field of the header (RFC 1952 §2.3.1.1), in zstd a frame that is skipped, behind the lines
(RFC 8878 §3.1.2).
"""

from __future__ import annotations

import os
import struct
from typing import IO, Final

# Magic, method, flags (an extra field), no time, no speed, unknown system (255); length of the extra field.
_GZIP_HEAD: Final = struct.Struct("<2sBBIBBH")
_GZIP_MAGIC: Final = b"\x1f\x8b"
_HAS_EXTRA: Final = 4
# A frame that is skipped: its number, one of sixteen, and its length, which stands behind its contents once more.
_SKIPPED_MAGIC: Final = 0x184D2A5E
_SKIPPED_HEAD: Final = struct.Struct("<II")
_LENGTH: Final = struct.Struct("<I")
# The most that an extra field of gzip holds, and so a note that has to fit both.
_MAX_BYTES: Final = 0xFFFF


def gzip_head(extra: bytes) -> bytes:
    """The header of a gzip member with an extra field, without a name or a time."""
    return _GZIP_HEAD.pack(_GZIP_MAGIC, 8, _HAS_EXTRA, 0, 0, 255, len(extra)) + extra


def gzip_extra(start: bytes) -> bytes | None:
    """The extra field that a file has. Pure.

    Args:
        start: Its first bytes.

    Returns:
        The field; empty without one; None where more of the file is needed.
    """
    if len(start) < _GZIP_HEAD.size:
        return b""
    magic, _, flags, *_, length = _GZIP_HEAD.unpack_from(start)
    if magic != _GZIP_MAGIC or flags != _HAS_EXTRA:
        return b""
    end = _GZIP_HEAD.size + length
    return start[_GZIP_HEAD.size : end] if len(start) >= end else None


def zstd_frame(note: bytes) -> bytes:
    """A frame that is skipped, with a note in it."""
    return _SKIPPED_HEAD.pack(_SKIPPED_MAGIC, len(note) + _LENGTH.size) + note + _LENGTH.pack(len(note))


def zstd_note(end: bytes) -> bytes | None:
    """The note in the last frame of a file, as ``zstd_frame`` makes it. Pure.

    Args:
        end: Its last bytes.

    Returns:
        The note; empty without one; None where more of the file is needed.
    """
    if len(end) < _LENGTH.size:
        return b""
    (length,) = _LENGTH.unpack_from(end, len(end) - _LENGTH.size)
    if length > _MAX_BYTES:
        return b""
    at = len(end) - _LENGTH.size - length - _SKIPPED_HEAD.size
    if at < 0:
        return None
    is_ours = _SKIPPED_HEAD.unpack_from(end, at) == (_SKIPPED_MAGIC, length + _LENGTH.size)
    return end[at + _SKIPPED_HEAD.size : -_LENGTH.size] if is_ours else b""


def read_gzip_extra(file: IO[bytes]) -> bytes:
    """The extra field of a file that can seek; it is left at its beginning. Raises OSError."""
    found = gzip_extra(file.read(_GZIP_HEAD.size + _MAX_BYTES))
    file.seek(0)
    return found or b""


def read_zstd_note(file: IO[bytes]) -> bytes:
    """The note of a file that can seek; it is left at its beginning. Raises OSError."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _MAX_BYTES - _SKIPPED_HEAD.size - _LENGTH.size))
    found = zstd_note(file.read())
    file.seek(0)
    return found or b""
