"""Journal: the format of one file. Frames stand one after another; a zero header marks where the next one will be.

A frame is a header of 8 bytes, the payload, and zeros up to the next multiple of 8. The header is one native 64-bit
word, CRC-32 above and length below, and is written last: a process killed at any moment leaves a whole frame or none.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zlib import crc32

from dispatcher.outbox.permissions import pass_on_group
from dispatcher.process.system_calls import allocate

HEADER: Final = struct.Struct("@Q")
HEADER_BYTES: Final = HEADER.size
LENGTH_MASK: Final = 0xFFFFFFFF
#: Stands in the place of a header once the writer has gone on to the next file.
ROTATED: Final = LENGTH_MASK
SUFFIX: Final = ".journal"
#: The suffix of the file beside a journal in which a relay records what it has put (relay/put_log.py).
NOTES_SUFFIX: Final = ".puts"

_unpack = HEADER.unpack_from
# Compared at once, which is a hundred times as fast as to look at each byte.
_ZEROS: Final = bytes(65_536)


def journal_path(directory: Path, index: int) -> Path:
    """The file that holds the positions from ``index * journal_bytes`` on."""
    return directory / f"{index:08d}{SUFFIX}"


def notes_path(directory: Path, index: int) -> Path:
    """The file in which a relay records what it has put of journal ``index``."""
    return directory / f"{index:08d}{NOTES_SUFFIX}"


def frame_bytes(payload_bytes: int) -> int:
    """The bytes that a payload of that size takes in a file, with its header and padding."""
    return (HEADER_BYTES + payload_bytes + 7) & -8


@dataclass(slots=True)
class Journal:
    """A journal file that is written to: mapped whole, and allocated as far as it is used.

    Nothing is stored behind ``allocated``: on a full disk the kernel would end the process with SIGBUS. Allocating
    raises an error instead.

    Args:
        path: Where the file is.
        map: The whole file.
        allocated: How many bytes from its start have their space on the disk.
    """

    path: Path
    map: mmap.mmap
    allocated: int

    @classmethod
    def create(cls, path: Path, size: int, *, allocated: int) -> Journal:
        """Make a new file of zero bytes and map it.

        Args:
            path: Where; nothing may be there yet.
            size: The bytes of the file.
            allocated: How many of them, from the start, get their space on the disk now.

        Raises:
            OSError: The disk is full, or the file exists. Nothing is left behind.
        """
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            pass_on_group(fd, path.parent)
            allocate(fd, 0, allocated)
            os.ftruncate(fd, size)
            mapped = mmap.mmap(fd, size, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        except OSError:
            os.unlink(path)
            raise
        finally:
            os.close(fd)
        return cls(path, mapped, allocated)

    def allocate(self, upto: int) -> None:
        """Allocate disk space up to byte ``upto``, in some 20 µs. Raises OSError on a full disk, changing nothing."""
        fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            allocate(fd, self.allocated, upto)
        finally:
            os.close(fd)
        self.allocated = upto


@dataclass(frozen=True, slots=True)
class Frames:
    """What ``parse`` read: payloads, the offset behind each, the offset to go on from, and why it stopped."""

    payloads: list[bytes]
    ends: list[int]
    offset: int
    #: The writer has gone on to the next file, so nothing more will come in this one.
    rotated: bool = False
    #: The bytes at ``offset`` are not a frame.
    damaged: bool = False


def parse(buffer: bytes, offset: int = 0, *, limit: int = sys.maxsize) -> Frames:
    """Read whole frames, and stop before the first that is not whole.

    Args:
        buffer: The bytes of a journal, or of a part that begins at a frame.
        offset: Where in the buffer to begin; a multiple of 8.
        limit: The most frames to read.

    Returns:
        Payloads, the offset behind each, and why reading stopped. Raises nothing for damaged bytes.
    """
    payloads: list[bytes] = []
    ends: list[int] = []
    size = len(buffer)
    while len(payloads) < limit and offset + HEADER_BYTES <= size:
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


def frame(payload: bytes) -> bytes:
    """A payload as it stands in a file, with header and padding."""
    size = len(payload)
    return HEADER.pack(crc32(payload) << 32 | size) + payload + bytes(frame_bytes(size) - HEADER_BYTES - size)


def resynchronise(buffer: bytes, offset: int) -> int | None:
    """Find the first whole frame behind damaged bytes.

    Args:
        buffer: The bytes of a journal.
        offset: Where the damage begins. Frames stand at multiples of 8, so only these are tried.

    Returns:
        The offset of the frame, or None.
    """
    candidate = offset
    while (candidate := candidate + 8) <= len(buffer) - HEADER_BYTES:
        (header,) = _unpack(buffer, candidate)
        if header == 0:
            # There may be megabytes of zeros: skip to the word with the next byte that is not zero.
            candidate = (_behind_zeros(buffer, candidate) & -8) - 8
            continue
        length = header & LENGTH_MASK
        if candidate + HEADER_BYTES + length > len(buffer):
            continue
        start = candidate + HEADER_BYTES
        if length and crc32(buffer[start : start + length]) == header >> 32:
            return candidate
    return None


def _behind_zeros(buffer: bytes, start: int) -> int:
    """The offset of the next byte that is not zero; the end of the buffer if all are zero."""
    while start < len(buffer):
        piece = buffer[start : start + len(_ZEROS)]
        if piece != _ZEROS[: len(piece)]:
            return start + len(piece) - len(piece.lstrip(b"\0"))
        start += len(piece)
    return len(buffer)
