"""LogObject: lines of one day or hour, compressed, with a note of the batches that they came from. Pure.

Readers of gzip and zstd pass over the note: it is an extra field of gzip's header (RFC 1952 §2.3.1.1), and a frame of
zstd's that is skipped (RFC 8878 §3.1.2), behind the lines. The same lines of the same batches are the same bytes.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import zstandard

if TYPE_CHECKING:
    from dispatcher.destinations.base import Batch

Compression: TypeAlias = Literal["gzip", "zstd"]

#: How the names of objects end.
SUFFIXES: Final[dict[Compression, str]] = {"gzip": ".log.gz", "zstd": ".log.zst"}

#: Batches that one object may have: as many spans as an extra field of gzip holds.
MOST_BATCHES: Final = 4000
#: Bytes of an object that are read for its note, at its beginning or its end: those of as many batches as a claim has.
NOTE_BYTES: Final = 8192

# A batch's digest, and the places of its events from which and up to which the object has those of its hour.
_SPAN: Final = struct.Struct(">8sII")
# Magic, method, flags (an extra field), no time, no speed, unknown system (255); length of the extra field.
_GZIP_HEAD: Final = struct.Struct("<2sBBIBBH")
_EXTRA: Final = struct.Struct("<2sH")
_EXTRA_ID: Final = b"ed"
_GZIP_LEVEL: Final = 6
_ZSTD_LEVEL: Final = 3
# A frame that is skipped: its number, one of sixteen, and its length, which stands behind its contents once more.
_SKIPPED_MAGIC: Final = 0x184D2A5E
_SKIPPED_HEAD: Final = struct.Struct("<II")
_LENGTH: Final = struct.Struct("<I")


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """The events of a batch from one place up to another.

    Args:
        batch: The digest of the batch's name.
        first: The place of the first one.
        end: The place behind the last one.
    """

    batch: bytes
    first: int
    end: int

    @classmethod
    def of(cls, batch: Batch) -> Span:
        """All that a batch holds now."""
        name = f"{batch.destination}\0{batch.id}".encode()
        return cls(blake2b(name, digest_size=8).digest(), batch.first, batch.first + len(batch.payloads))


@dataclass(frozen=True, slots=True, kw_only=True)
class LogObject:
    """What is written at once.

    Args:
        folder: Of its day or hour, such as ``dt=2026-11-29/hour=18``.
        began: The time of day of its first line, such as ``181203``.
        lines: Its lines, without line breaks.
        spans: What it has of which batches.
    """

    folder: str
    began: str
    lines: Sequence[bytes]
    spans: Sequence[Span]

    def name(self, compression: Compression) -> str:
        """Its name: the same for the same folder and the same batches."""
        note = _pack_spans(self.spans)
        digest = blake2b(self.folder.encode() + note, digest_size=10).hexdigest()
        return f"{self.folder}/{self.began}-{digest}{SUFFIXES[compression]}"

    def pack(self, compression: Compression) -> bytes:
        """Its bytes."""
        text = b"\n".join(self.lines) + b"\n"
        note = _pack_spans(self.spans)
        if compression == "zstd":
            packed = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True).compress(text)
            return (
                packed + _SKIPPED_HEAD.pack(_SKIPPED_MAGIC, len(note) + _LENGTH.size) + note + _LENGTH.pack(len(note))
            )
        compressor = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        head = _GZIP_HEAD.pack(b"\x1f\x8b", 8, 4, 0, 0, 255, _EXTRA.size + len(note)) + _EXTRA.pack(
            _EXTRA_ID, len(note)
        )
        tail = struct.pack("<II", zlib.crc32(text), len(text) & 0xFFFFFFFF)
        return b"".join((head, note, compressor.compress(text), compressor.flush(), tail))


def read_spans(name: str, part: bytes) -> list[Span] | None:
    """What an object has of which batches; none where it has no note, as one that somebody else wrote.

    Args:
        name: Its name.
        part: Its first bytes, or its last ones where ``is_note_last``; at least ``NOTE_BYTES``, or all.

    Returns:
        The spans; None where more of the object is needed.
    """
    return _unpack_spans(_zstd_note(part) if is_note_last(name) else _gzip_note(part))


def is_note_last(name: str) -> bool:
    """Whether an object of this name has its note at its end."""
    return name.endswith(SUFFIXES["zstd"])


def _gzip_note(part: bytes) -> bytes | None:
    at = _GZIP_HEAD.size + _EXTRA.size
    if len(part) < at:
        return b""
    magic, _, flags, *_, extra_bytes = _GZIP_HEAD.unpack_from(part)
    identity, length = _EXTRA.unpack_from(part, _GZIP_HEAD.size)
    if magic != b"\x1f\x8b" or flags != 4 or identity != _EXTRA_ID or length + _EXTRA.size != extra_bytes:
        return b""
    return part[at : at + length] if len(part) >= at + length else None


def _zstd_note(part: bytes) -> bytes | None:
    if len(part) < _LENGTH.size:
        return b""
    (length,) = _LENGTH.unpack_from(part, len(part) - _LENGTH.size)
    if length > MOST_BATCHES * _SPAN.size:
        return b""
    at = len(part) - _LENGTH.size - length - _SKIPPED_HEAD.size
    if at < 0:
        return None
    is_ours = _SKIPPED_HEAD.unpack_from(part, at) == (_SKIPPED_MAGIC, length + _LENGTH.size)
    return part[at + _SKIPPED_HEAD.size : -_LENGTH.size] if is_ours else b""


def _pack_spans(spans: Sequence[Span]) -> bytes:
    return b"".join(_SPAN.pack(span.batch, span.first, span.end) for span in sorted(spans))


def _unpack_spans(note: bytes | None) -> list[Span] | None:
    if note is None:
        return None
    whole = len(note) - len(note) % _SPAN.size
    return [Span(*fields) for fields in _SPAN.iter_unpack(note[:whole])]
