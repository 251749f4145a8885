"""The journal: one file's format. Frames stand one after another; a zero header is where the next one will be.

A frame is a header of 8 bytes, the payload, and zeros up to the next multiple of 8. The header is one native 64-bit
word, CRC-32 above and length below, and is written last: a process killed at any moment leaves a whole frame or none.
"""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zlib import crc32

HEADER: Final = struct.Struct("@Q")
HEADER_BYTES: Final = HEADER.size
LENGTH_MASK: Final = 0xFFFFFFFF
#: Stands where a header would be, once the writer has gone on to the next file.
ROTATED: Final = LENGTH_MASK
SUFFIX: Final = ".journal"

_unpack = HEADER.unpack_from


def journal_path(directory: Path, index: int) -> Path:
    """The file that holds the positions from ``index * journal_bytes`` on."""
    return directory / f"{index:08d}{SUFFIX}"


def frame_bytes(payload_bytes: int) -> int:
    """What a payload of that size takes up, with its header and padding."""
    return (HEADER_BYTES + payload_bytes + 7) & -8


def create(path: Path, size: int) -> mmap.mmap:
    """A new file of ``size`` zero bytes, mapped for writing.

    The space is allocated here, so that a full disk is an OSError now and not a SIGBUS at some later store.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(fd, 0, size)
        return mmap.mmap(fd, size, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    except OSError:
        os.unlink(path)
        raise
    finally:
        os.close(fd)


@dataclass(frozen=True, slots=True)
class Frames:
    """What ``parse`` found: payloads, the offset behind each, the offset to go on from, and why it stopped."""

    payloads: list[bytes]
    ends: list[int]
    offset: int
    #: The writer has gone on to the next file, so nothing more will come in this one.
    rotated: bool = False
    #: What stands at ``offset`` is not a frame.
    damaged: bool = False


def parse(buffer: bytes, offset: int, *, most: int) -> Frames:
    """Up to ``most`` frames of ``buffer`` from ``offset`` on. Stops before the first that is not whole."""
    payloads: list[bytes] = []
    ends: list[int] = []
    size = len(buffer)
    while len(payloads) < most and offset + HEADER_BYTES <= size:
        (header,) = _unpack(buffer, offset)
        if header == 0:
            break
        length = header & LENGTH_MASK
        if length == ROTATED:
            return Frames(payloads, ends, offset, rotated=True)
        end = offset + HEADER_BYTES + length
        if end > size:
            return Frames(payloads, ends, offset, damaged=True)
        payload = buffer[offset + HEADER_BYTES : end]
        if crc32(payload) != header >> 32:
            return Frames(payloads, ends, offset, damaged=True)
        payloads.append(payload)
        offset = (end + 7) & -8
        ends.append(offset)
    return Frames(payloads, ends, offset)


def resynchronise(buffer: bytes, offset: int) -> int | None:
    """The offset of the first whole frame behind ``offset``, or None. Frames stand at multiples of 8."""
    for candidate in range(offset + 8, len(buffer) - HEADER_BYTES + 1, 8):
        (header,) = _unpack(buffer, candidate)
        length = header & LENGTH_MASK
        if header == 0 or candidate + HEADER_BYTES + length > len(buffer):
            continue
        start = candidate + HEADER_BYTES
        if length and crc32(buffer[start : start + length]) == header >> 32:
            return candidate
    return None
