"""Receipts are found by the ids of their events, whatever a killed process, a full disk or an operator left there."""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

import pytest

from dispatcher.emit.ids import IdSource
from dispatcher.event import Event, encode
from dispatcher.receipts.block import Block, Fate, key_of, keys_of
from dispatcher.receipts.files import receipt_files
from dispatcher.receipts.reader import find_receipts
from dispatcher.receipts.writer import ReceiptWriter

MONTH = 30 * 86_400.0


def payload(event_id: str) -> bytes:
    return encode(Event(id=event_id, name="shop.paid", timestamp=datetime.now(UTC), data={}, context={}))


def block(*ids: str, batch: str = "17-a:0", fate: Fate = "delivered", reason: str = "", at_ms: int = 5) -> Block:
    keys = keys_of([payload(one) for one in ids])
    return Block(destination="segment", batch=batch, fate=fate, reason=reason, at_ms=at_ms, attempt=2, keys=keys)


def writer(directory: Path, *, max_bytes: int = 1 << 26, max_age: float = MONTH) -> ReceiptWriter:
    return ReceiptWriter(directory, max_bytes=max_bytes, max_age_seconds=max_age)


@pytest.mark.parametrize(
    "event_id",
    [
        "019e02c4-7a1b-7c3d-8e5f-0123456789ab",
        "019E02C4-7A1B-7C3D-8E5F-0123456789AB",
        "019e02c4-7a1b-7c3d-8e5f-0123456789ag",
        "019e02c47a1b7c3d8e5f0123456789ab",
        "018-e02c4-7a1b-7c3d-8e5f-123456789ab",
        "an id of a client",
        "ü-x",
        'quoted "\\ text',
        "x" * 100,
    ],
)
def test_an_event_has_the_key_of_its_id_alone_and_beside_others(event_id: str) -> None:
    other = IdSource().new()
    assert keys_of([payload(event_id)]) == key_of(event_id)
    assert keys_of([payload(other), payload(event_id), payload(other)]) == b"".join(
        map(key_of, (other, event_id, other))
    )
    assert key_of(event_id) != key_of(event_id.swapcase()) or event_id == event_id.swapcase()


def test_no_key_shows_an_id_of_somebody_else() -> None:
    assert b"ada@example.org" not in block("ada@example.org").encode()


def test_each_receipt_is_found_with_all_that_is_known_of_its_delivery(tmp_path: Path) -> None:
    ids = IdSource()
    mine, other, foreign = ids.new(), ids.new(), "an id of a client"
    kept = writer(tmp_path / "receipts")
    kept.write([block(mine, other), block(foreign, fate="dead", reason="oversized")])
    kept.write([block(mine, batch="replay-9-0", at_ms=9)])
    found = find_receipts(tmp_path / "receipts", [mine, foreign, ids.new()])
    assert set(found.by_event) == {mine, foreign}
    first, again = found.by_event[mine]
    assert (first.block.destination, first.block.batch, first.block.fate, first.block.attempt, first.together) == (
        *("segment", "17-a:0", "delivered"),
        *(2, 2),
    )
    assert (again.block.batch, again.block.at_ms, again.together) == ("replay-9-0", 9, 1)
    (dead,) = found.by_event[foreign]
    assert (dead.block.fate, dead.block.reason) == ("dead", "oversized")
    assert (len(found.hosts), found.problems) == (1, [])


def test_what_a_killed_writer_left_half_done_hides_no_other_receipt(tmp_path: Path) -> None:
    ids = IdSource()
    whole, half = ids.new(), ids.new()
    kept = writer(tmp_path)
    kept.write([block(whole)])
    (file,) = receipt_files(tmp_path)
    with file.path.open("ab") as raw:
        raw.write(block(half).encode()[:-1])
    later = ids.new()
    writer(tmp_path).write([block(later)])
    assert set(find_receipts(tmp_path, [whole, half, later]).by_event) == {whole, later}


def test_changed_bytes_are_no_receipt(tmp_path: Path) -> None:
    mine = IdSource().new()
    writer(tmp_path).write([block(mine, reason="")])
    (file,) = receipt_files(tmp_path)
    content = bytearray(file.path.read_bytes())
    content[12] ^= 1
    file.path.write_bytes(content)
    assert not find_receipts(tmp_path, [mine]).by_event.get(mine)


def test_a_killed_process_leaves_all_that_it_has_written(tmp_path: Path) -> None:
    mine = IdSource().new()
    child = os.fork()
    if child == 0:
        writer(tmp_path).write([block(mine)])
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert set(find_receipts(tmp_path, [mine]).by_event) == {mine}


def test_threads_and_a_forked_child_write_at_once(tmp_path: Path) -> None:
    kept, ids = writer(tmp_path), IdSource()
    first = ids.new()
    kept.write([block(first)])
    every = [[ids.new() for _ in range(200)] for _ in range(4)]
    child = os.fork()
    if child == 0:
        kept.write([block(ids.new())])
        os._exit(0)
    threads = [
        threading.Thread(target=lambda some: [kept.write([block(one)]) for one in some], args=(some,)) for some in every
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert os.waitpid(child, 0)[1] == 0
    written = [first, *chain(*every)]
    assert set(find_receipts(tmp_path, written).by_event) == set(written)
    assert len(receipt_files(tmp_path)) == 2


def test_the_oldest_files_go_when_there_are_too_many(tmp_path: Path) -> None:
    kept = writer(tmp_path, max_bytes=40_000)
    ids = IdSource()
    every = [ids.new() for _ in range(1000)]
    for one in every:
        kept.write([block(one)])
    assert sum(file.bytes for file in receipt_files(tmp_path)) <= 40_000
    found = find_receipts(tmp_path, [every[0], every[-1]])
    assert set(found.by_event) == {every[-1]}
    assert found.since_ms is not None


def test_files_that_are_too_old_go(tmp_path: Path) -> None:
    old, new = IdSource().new(), IdSource().new()
    writer(tmp_path).write([block(old)])
    (file,) = receipt_files(tmp_path)
    long_ago = time.time() - 61
    os.utime(file.path, (long_ago, long_ago))
    writer(tmp_path, max_age=60).write([block(new)])
    assert set(find_receipts(tmp_path, [old, new]).by_event) == {new}


def test_a_file_that_somebody_deleted_takes_no_more_receipts(tmp_path: Path) -> None:
    kept, mine = writer(tmp_path), IdSource().new()
    kept.write([block(IdSource().new())])
    (file,) = receipt_files(tmp_path)
    file.path.unlink()
    kept.write([block(mine)])
    assert set(find_receipts(tmp_path, [mine]).by_event) == {mine}


def test_a_directory_that_cannot_be_written_warns_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    kept = writer(tmp_path / "file" / "receipts")
    kept.write([block("a")])
    kept.write([block("b")])
    (record,) = caplog.records
    assert "receipts.directory" in record.message


def test_a_full_disk_leaves_no_empty_files_behind(tmp_path: Path) -> None:
    kept, first, late = writer(tmp_path), IdSource().new(), IdSource().new()
    kept.write([block(first)])
    (file,) = receipt_files(tmp_path)
    with files_of_at_most(file.bytes + 10):
        kept.write([block(IdSource().new())])
        with files_of_at_most(0):
            for _ in range(5):
                kept.write([block(IdSource().new())])
    kept.write([block(late)])
    assert set(find_receipts(tmp_path, [first, late]).by_event) == {first, late}
    assert len(receipt_files(tmp_path)) == 1
    with files_of_at_most(0):
        writer(tmp_path).write([block(IdSource().new())])
    assert len(receipt_files(tmp_path)) == 1


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let this process write no more than so much into a file, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_without_room_for_any_nothing_is_written(tmp_path: Path) -> None:
    writer(tmp_path / "receipts", max_bytes=0).write([block("a")])
    assert not (tmp_path / "receipts").exists()
    assert find_receipts(tmp_path / "receipts", ["a"]).by_event == {}
