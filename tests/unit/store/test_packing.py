"""Batches are packed with their lengths: they unpack unchanged, or are reported as damaged."""

from __future__ import annotations

import resource
from zlib import crc32

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.errors import BatchDamagedError
from dispatcher.store.packing import MAX_UNPACKED_BYTES, pack, unpack

EVENTS = (b'{"id":"1"}', b'{"id":"2","data":{"a":\n1}}', b"", b"\n", b"\0\xff")


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=30))
def test_events_of_any_bytes_are_unpacked_unchanged(payloads: list[bytes]) -> None:
    assert unpack(pack(payloads), len(payloads)) == tuple(payloads)


def test_a_batch_of_the_previous_version_is_read() -> None:
    packed = zstandard.ZstdCompressor(level=1).compress(b'{"id":"1"}\n{"id":"2"}')
    assert unpack(packed, 2) == (b'{"id":"1"}', b'{"id":"2"}')


def test_a_lone_event_with_a_line_break_of_the_previous_version_is_one_event() -> None:
    packed = zstandard.ZstdCompressor(level=1).compress(b'{"id":"1","data":\n{}}')
    assert unpack(packed, 1) == (b'{"id":"1","data":\n{}}',)


def test_a_batch_with_a_line_break_of_the_previous_version_is_damaged() -> None:
    packed = zstandard.ZstdCompressor(level=1).compress(b'{"id":"1","data":\n{}}\n{"id":"2"}')
    with pytest.raises(BatchDamagedError, match="3 lines"):
        unpack(packed, 2)


@pytest.mark.parametrize("bit", range(8))
def test_a_flipped_bit_anywhere_makes_the_batch_damaged(bit: int) -> None:
    packed = pack(EVENTS)
    for at in range(len(packed)):
        flipped = bytearray(packed)
        flipped[at] ^= 1 << bit
        with pytest.raises(BatchDamagedError):
            unpack(bytes(flipped), len(EVENTS))


def test_a_batch_truncated_anywhere_is_damaged() -> None:
    packed = pack(EVENTS)
    for at in range(len(packed)):
        with pytest.raises(BatchDamagedError):
            unpack(packed[:at], len(EVENTS))


@given(st.binary(max_size=100))
def test_other_bytes_are_damaged(junk: bytes) -> None:
    with pytest.raises(BatchDamagedError):
        unpack(junk, 1)


def test_a_missing_payload_is_damaged() -> None:
    with pytest.raises(BatchDamagedError, match="missing"):
        unpack(None)


def test_a_batch_with_an_unexpected_number_of_events_is_damaged() -> None:
    with pytest.raises(BatchDamagedError, match="holds 5 events"):
        unpack(pack(EVENTS), 6)


@pytest.mark.parametrize("framed", [True, False], ids=["of this version", "of the version before"])
def test_an_implausible_uncompressed_size_takes_no_memory(framed: bool) -> None:
    size = 16 * MAX_UNPACKED_BYTES
    compressor = zstandard.ZstdCompressor(level=1).compressobj(size=size)
    bomb = b"".join([*(compressor.compress(bytes(1 << 20)) for _ in range(size >> 20)), compressor.flush()])
    if framed:
        bomb = b"\x01" + _crc(bomb) + bomb
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BatchDamagedError, match="would unpack to 1,073,741,824 bytes"):
        unpack(bomb, 1)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024


def test_a_compressed_frame_without_its_size_is_damaged() -> None:
    compressor = zstandard.ZstdCompressor(level=1, write_content_size=False)
    with pytest.raises(BatchDamagedError, match="an unknown number of bytes"):
        unpack(compressor.compress(b"{}"), 1)


def test_a_list_with_a_false_length_takes_no_memory() -> None:
    frame = zstandard.ZstdCompressor(level=1).compress(b"\xdd\xff\xff\xff\xff")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BatchDamagedError, match="not a list of events"):
        unpack(b"\x01" + _crc(frame) + frame)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024


def _crc(frame: bytes) -> bytes:
    return crc32(frame).to_bytes(4, "little")
