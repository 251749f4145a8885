"""The log of appends is a ring that several processes write in turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dispatcher.tasks.destinations.tracking_log.append_log import AppendLog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".tracking.log.appends"


@pytest.fixture
def ring(path: Path) -> Iterator[AppendLog]:
    ring = AppendLog(path, slots=40)
    yield ring
    ring.close()


@pytest.fixture
def other(path: Path) -> Iterator[AppendLog]:
    other = AppendLog(path, slots=40)
    yield other
    other.close()


def key(number: int) -> bytes:
    return number.to_bytes(16)


def note(ring: AppendLog, number: int) -> int:
    with ring.lock(1):
        return ring.begin(key=key(number), inode=7, offset=number, length=3, first=0, events=1).sequence


def test_appends_are_found_by_their_batch(ring: AppendLog) -> None:
    for number in range(1, 6):
        note(ring, number)
    with ring.lock(1):
        found = ring.find(key(3))
        assert found is not None
        assert (found.sequence, found.inode, found.offset, found.done) == (3, 7, 3, False)
        assert ring.find(key(99)) is None


def test_the_latest_append_of_a_batch_is_found(ring: AppendLog) -> None:
    for number in [1, 2, 1, 3]:
        note(ring, number)
    with ring.lock(1):
        found = ring.find(key(1))
    assert found is not None
    assert found.sequence == 3


@pytest.mark.parametrize("ahead", [1, 15, 16, 17, 39, 40, 41, 79, 80, 81, 200])
def test_appends_of_other_processes_are_seen(ring: AppendLog, other: AppendLog, ahead: int) -> None:
    for number in range(30):
        note(ring, number)
    for number in range(30, 30 + ahead):
        note(other, number)
    assert note(ring, 500) == 31 + ahead
    assert note(other, 501) == 32 + ahead


def test_the_ring_forgets_the_oldest_and_does_not_grow(ring: AppendLog, path: Path) -> None:
    for number in range(100):
        note(ring, number)
    with ring.lock(1):
        known = [number for number in range(100) if ring.find(key(number)) is not None]
    assert known == list(range(60, 100))
    assert path.stat().st_size == 40 * 64


def test_a_reopened_ring_continues_where_it_was(ring: AppendLog, other: AppendLog) -> None:
    for number in range(55):
        note(ring, number)
    ring.close()
    assert note(other, 55) == 56
    assert note(ring, 56) == 57


def test_damaged_entries_are_ignored(ring: AppendLog, other: AppendLog, path: Path) -> None:
    for number in range(1, 6):
        note(ring, number)
    ring.close()
    damaged = bytearray(path.read_bytes())
    damaged[3 * 64 + 20] ^= 1
    path.write_bytes(damaged + b"half an entry")
    with other.lock(1):
        assert other.find(key(3)) is None
        assert other.find(key(4)) is not None
    assert note(other, 9) == 6


def test_a_file_of_something_else_is_overwritten(ring: AppendLog, path: Path) -> None:
    path.write_bytes(b"\xff" * 1000)
    assert note(ring, 1) == 1
    assert note(ring, 2) == 2
