"""LogObject: lines of one day or hour, compressed, with a note of the batches that they came from. Pure.

Readers of gzip and zstd pass over the note (``dispatcher.edx_log.log_note``), and what takes a person out of an object
keeps it. The same lines of the same batches are the same bytes.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import zstandard

from dispatcher.edx_log.log_note import gzip_extra, gzip_head, zstd_frame, zstd_note

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
# The subfield of gzip's extra field: whose it is, and its length.
_EXTRA: Final = struct.Struct("<2sH")
_EXTRA_ID: Final = b"ed"
# Bytes of an object of ours within which that stands.
_EXTRA_ID_WITHIN: Final = 16
_GZIP_LEVEL: Final = 6
_ZSTD_LEVEL: Final = 3


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
        """All that a batch holds now, or has held before people in it were to be forgotten."""
        name = f"{batch.destination}\0{batch.id}".encode()
        end = batch.first + len(batch.payloads) + len(batch.forgotten)
        return cls(blake2b(name, digest_size=8).digest(), batch.first, end)


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
            return packed + zstd_frame(note)
        compressor = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        head = gzip_head(_EXTRA.pack(_EXTRA_ID, len(note)) + note)
        tail = struct.pack("<II", zlib.crc32(text), len(text) & 0xFFFFFFFF)
        return b"".join((head, compressor.compress(text), compressor.flush(), tail))


def read_spans(name: str, part: bytes) -> list[Span] | None:
    """What an object has of which batches; none where it has no note, as one that somebody else wrote.

    Args:
        name: Its name.
        part: Its first bytes, or its last ones where ``is_note_last``; at least ``NOTE_BYTES``, or all.

    Returns:
        The spans; None where more of the object is needed.
    """
    return _unpack_spans(zstd_note(part) if is_note_last(name) else _gzip_note(part))


def is_note_last(name: str) -> bool:
    """Whether an object of this name has its note at its end."""
    return name.endswith(SUFFIXES["zstd"])


def _gzip_note(part: bytes) -> bytes | None:
    extra = gzip_extra(part)
    if extra is None:
        return None if _EXTRA_ID in part[:_EXTRA_ID_WITHIN] else b""
    if len(extra) < _EXTRA.size:
        return b""
    identity, length = _EXTRA.unpack_from(extra)
    return extra[_EXTRA.size :] if identity == _EXTRA_ID and length + _EXTRA.size == len(extra) else b""


def _pack_spans(spans: Sequence[Span]) -> bytes:
    return b"".join(_SPAN.pack(span.batch, span.first, span.end) for span in sorted(spans))


def _unpack_spans(note: bytes | None) -> list[Span] | None:
    if note is None:
        return None
    whole = len(note) - len(note) % _SPAN.size
    return [Span(*fields) for fields in _SPAN.iter_unpack(note[:whole])]
