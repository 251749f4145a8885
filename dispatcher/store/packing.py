"""Packing: the events of a batch as Redis keeps them, compressed together."""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Final
from zlib import crc32

import msgspec
import zstandard

from dispatcher.errors import BatchDamagedError

#: The size of the largest batch, unpacked: the settings allow half of it for a batch and for an event.
MAX_UNPACKED_BYTES: Final = 64 * 1024 * 1024

# Level 1 packs events of one kind to a tenth and costs a microsecond an event; level 3 gains a tenth for twice that.
_LEVEL: Final = 1

# What a packed batch begins with: the version of its form, and a checksum of the zstd frame behind it. Version 0 had
# no head: it was a zstd frame, which begins with a magic number, of events joined by line breaks.
_HEAD: Final = Struct("<BI")
_VERSION: Final = 1
# The longest head of a zstd frame (RFC 8878, 3.1.1).
_FRAME_HEAD_BYTES: Final = 18
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
# Length and bytes of each event: a batch is taken apart the same way whatever its events hold.
_frame: Final = msgspec.msgpack.Encoder().encode
_unframe: Final = msgspec.msgpack.Decoder(tuple[bytes, ...]).decode


def pack(payloads: Sequence[bytes]) -> bytes:
    """Pack events of any bytes."""
    frame = zstandard.ZstdCompressor(level=_LEVEL).compress(_frame(payloads))
    return _HEAD.pack(_VERSION, crc32(frame)) + frame


def unpack(packed: bytes | None, count: int | None = None) -> tuple[bytes, ...]:
    """Unpack what ``pack`` packed, ``count`` events if that is known. None stands for a batch whose bytes are missing.

    Raises:
        BatchDamagedError: These are other bytes than were packed, or more than a batch can have.
    """
    if not packed:
        raise BatchDamagedError("its payload is missing")
    if packed.startswith(_ZSTD_MAGIC):
        return _unpack_lines(packed, count)
    if len(packed) < _HEAD.size or packed[0] != _VERSION:
        raise BatchDamagedError(
            f"its payload begins with the byte {packed[0]}, which no version of dispatcher up to this one writes"
        )
    frame = memoryview(packed)[_HEAD.size :]
    if crc32(frame) != _HEAD.unpack_from(packed)[1]:
        raise BatchDamagedError("its payload has another checksum than when it was put")
    try:
        payloads: tuple[bytes, ...] = _unframe(_decompress(frame))
    except msgspec.DecodeError as error:
        raise BatchDamagedError(f"its payload is not a list of events: {error}") from error
    if count is not None and len(payloads) != count:
        raise BatchDamagedError(f"its payload holds {len(payloads)} events")
    return payloads


def unpacked_bytes(packed: bytes) -> int:
    """The size of a batch's events as the batch itself says it; 0 for one that does not. Takes a microsecond."""
    try:
        return max(0, zstandard.frame_content_size(packed[_HEAD.size :][:_FRAME_HEAD_BYTES]))
    except zstandard.ZstdError:
        return 0


def _unpack_lines(packed: bytes, count: int | None) -> tuple[bytes, ...]:
    # As the version before wrote it: what is put during an upgrade may be in this form.
    text = _decompress(packed)
    payloads = tuple(text.split(b"\n"))
    if count is None or len(payloads) == count:
        return payloads
    if count == 1:
        return (text,)
    raise BatchDamagedError(f"its payload has {len(payloads)} lines: a line break inside of an event")


def _decompress(frame: bytes | memoryview) -> bytes:
    # The frame's head says the size. One that is too large is refused before any memory is taken for it.
    try:
        size = zstandard.frame_content_size(frame)
        if not 0 <= size <= MAX_UNPACKED_BYTES:
            number = f"{size:,}" if size >= 0 else "an unknown number of"
            raise BatchDamagedError(
                f"its payload would unpack to {number} bytes, and no batch is larger than {MAX_UNPACKED_BYTES:,}"
            )
        return zstandard.ZstdDecompressor().decompress(frame)
    except zstandard.ZstdError as error:
        raise BatchDamagedError(f"its payload cannot be unpacked: {error}") from error
