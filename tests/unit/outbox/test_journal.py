"""The journal's format: whole frames are found, whatever surrounds them, and nothing else is."""

from __future__ import annotations

import mmap
import os
import resource
import struct
import subprocess
import sys
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.outbox.journal import (
    HEADER_BYTES,
    LENGTH_MASK,
    ROTATED,
    Journal,
    frame_bytes,
    journal_path,
    parse,
    resynchronise,
)

# What an event can be: never empty, and as JSON it never ends in a zero byte.
PAYLOADS = st.lists(st.binary(min_size=1, max_size=60).map(lambda payload: payload + b"}"), max_size=12)


def frame(payload: bytes) -> bytes:
    whole = struct.pack("@Q", crc32(payload) << 32 | len(payload)) + payload
    return whole + b"\0" * (-len(whole) % 8)


def test_a_frame_is_header_payload_and_padding_to_eight() -> None:
    assert [frame_bytes(size) for size in (1, 7, 8, 9, 16)] == [16, 16, 16, 24, 24]
    assert len(frame(b"12345678")) == 16


def test_files_are_named_by_their_position_in_the_sequence(tmp_path: Path) -> None:
    assert journal_path(tmp_path, 7) == tmp_path / "00000007.journal"
    assert journal_path(tmp_path, 123_456_789).name == "123456789.journal"


def test_a_new_file_is_zeroed_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "a.journal"
    journal = Journal.create(path, 100_000, allocated=10_000)
    assert bytes(journal.map) == bytes(100_000)
    assert path.stat().st_size == 100_000
    assert path.stat().st_mode & 0o777 == 0o600
    # Allocated as far as it is used, so that no store meets a full disk, and no further.
    assert 10_000 <= path.stat().st_blocks * 512 < 50_000
    journal.map[:3] = b"abc"
    assert path.read_bytes()[:3] == b"abc"
    journal.map.close()


def test_a_file_grows_without_changing_its_contents(tmp_path: Path) -> None:
    path = tmp_path / "a.journal"
    journal = Journal.create(path, 100_000, allocated=4_096)
    journal.map[:3] = b"abc"
    journal.allocate(60_000)
    assert journal.allocated == 60_000
    assert path.stat().st_blocks * 512 >= 60_000
    assert path.read_bytes() == b"abc" + bytes(99_997)
    journal.map.close()


def test_an_existing_file_is_not_reused(tmp_path: Path) -> None:
    Journal.create(tmp_path / "a.journal", mmap.PAGESIZE, allocated=mmap.PAGESIZE).map.close()
    with pytest.raises(FileExistsError):
        Journal.create(tmp_path / "a.journal", mmap.PAGESIZE, allocated=mmap.PAGESIZE)


def test_a_file_without_disk_space_is_removed_again(tmp_path: Path) -> None:
    script = f"""
import resource
from pathlib import Path
from dispatcher.outbox.journal import Journal
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, {resource.RLIM_INFINITY}))
try:
    Journal.create(Path({str(tmp_path / "a.journal")!r}), 10_000, allocated=4_096)
except OSError as error:
    print(error.strerror)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "File too large\n"
    assert os.listdir(tmp_path) == []


@given(payloads=PAYLOADS, rest=st.integers(0, 40))
def test_frames_are_found_in_order(payloads: list[bytes], rest: int) -> None:
    frames = [frame(payload) for payload in payloads]
    found = parse(b"".join(frames) + bytes(rest), 0, limit=100)
    assert found.payloads == payloads
    assert found.ends == [sum(map(len, frames[: n + 1])) for n in range(len(frames))]
    assert found.offset == sum(map(len, frames))
    assert not found.rotated
    assert not found.damaged


@given(payloads=PAYLOADS, most=st.integers(1, 5))
def test_parsing_can_continue_where_it_stopped(payloads: list[bytes], most: int) -> None:
    buffer = b"".join(map(frame, payloads)) + struct.pack("@Q", ROTATED)
    found: list[bytes] = []
    offset = 0
    while True:
        frames = parse(buffer, offset, limit=most)
        assert len(frames.payloads) <= most
        found += frames.payloads
        if frames.rotated:
            break
        offset = frames.offset
    assert found == payloads


@given(payloads=PAYLOADS.filter(len), data=st.data())
def test_a_buffer_that_ends_anywhere_holds_only_whole_frames(payloads: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(map(frame, payloads))
    cut = data.draw(st.integers(0, len(whole) - 1))
    found = parse(whole[:cut], 0, limit=100)
    assert found.payloads == payloads[: len(found.payloads)]
    assert found.offset <= cut + 7


@given(payloads=PAYLOADS.filter(len), data=st.data())
def test_a_changed_byte_loses_only_its_own_frame(payloads: list[bytes], data: st.DataObject) -> None:
    frames = [frame(payload) for payload in payloads]
    whole = bytearray(b"".join(frames) + bytes(16))
    at = data.draw(st.integers(0, len(whole) - 17))
    whole[at] ^= data.draw(st.integers(1, 255))
    hit = next(n for n in range(len(frames)) if at < sum(map(len, frames[: n + 1])))

    found: list[bytes] = []
    offset: int | None = 0
    while offset is not None:
        part = parse(bytes(whole), offset, limit=100)
        found += part.payloads
        offset = resynchronise(bytes(whole), part.offset) if part.damaged else None

    in_padding = at >= sum(map(len, frames[:hit])) + HEADER_BYTES + len(payloads[hit])
    assert found == (payloads if in_padding else payloads[:hit] + payloads[hit + 1 :])


def test_a_length_beyond_the_file_is_damage() -> None:
    assert parse(struct.pack("@Q", 1 << 32 | 1_000) + bytes(100), 0, limit=1).damaged


def test_a_zero_length_with_a_checksum_is_damage() -> None:
    assert parse(struct.pack("@Q", 1 << 32) + bytes(100), 0, limit=1).damaged


def test_the_end_mark_is_read_with_any_checksum() -> None:
    assert parse(struct.pack("@Q", 7 << 32 | LENGTH_MASK), 0, limit=1).rotated


def test_a_payload_that_looks_like_frames_inside_is_one_payload() -> None:
    tricky = frame(b"inner one}") + frame(b"inner two}") + b"}"
    assert parse(frame(tricky) + bytes(8), 0, limit=10).payloads == [tricky]


def test_what_follows_damage_is_found_at_a_multiple_of_eight() -> None:
    lost, kept = frame(b"l" * 50 + b"}"), frame(b"kept}")
    damaged = b"\xff" + lost[1:]
    assert resynchronise(damaged + kept + bytes(8), 0) == len(lost)
    assert resynchronise(damaged + bytes(64), 0) is None
    assert resynchronise(b"", 0) is None
