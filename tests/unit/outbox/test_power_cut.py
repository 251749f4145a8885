"""After a power cut, synced events are read, and lost ones are counted instead of taken for empty."""

from __future__ import annotations

import json
import mmap
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from dispatcher.errors import BlankStateError, OutboxError
from dispatcher.outbox import Outbox, Reader
from dispatcher.outbox.damage import damage
from dispatcher.outbox.journal import frame_bytes
from dispatcher.outbox.state import State
from dispatcher.outbox.stats import survey
from tests.support.outboxes import JOURNAL_BYTES, make_outbox, open_files, read_directory, read_on
from tests.support.waiting import wait_for

PAGE = mmap.PAGESIZE
# Payloads of 1,000 bytes that a file holds.
IN_A_FILE = JOURNAL_BYTES // frame_bytes(1_000)


def numbered(count: int, start: int = 0) -> list[bytes]:
    return [f'{{"n":{number:0994d}}}'.encode() for number in range(start, start + count)]


def left_behind(root: Path, payloads: list[bytes]) -> Path:
    """The directory of a process that appended these and is dead."""
    outbox = make_outbox(root)
    for payload in payloads:
        outbox.append(payload)
    outbox.close()
    return outbox.directory


def zero(path: Path, start: int, size: int = PAGE) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(bytes(size))


def waiting(root: Path) -> int:
    return sum(found.waiting for found in survey(root))


@pytest.mark.parametrize("left", [0, 100, PAGE], ids=["empty", "cut off", "zeros"])
def test_a_state_page_that_never_reached_the_disk_hides_no_event(
    root: Path, left: int, caplog: pytest.LogCaptureFixture
) -> None:
    payloads = numbered(2 * IN_A_FILE + 3)
    directory = left_behind(root, payloads)
    (directory / "state").write_bytes(bytes(left))
    (found,) = survey(root)
    assert (found.waiting, found.alive) == (len(payloads), False)
    assert "is blank: a power cut came before it was on the disk" in found.problem
    assert read_directory(directory) == payloads
    assert "made anew" in caplog.text
    assert [found.problem for found in survey(root)] == [""]
    assert waiting(root) == len(payloads)


def test_with_a_blank_state_page_reading_starts_with_the_first_journal_left(
    root: Path,
) -> None:
    payloads = numbered(3 * IN_A_FILE)
    directory = left_behind(root, payloads)
    (directory / "00000000.journal").unlink()
    zero(directory / "state", 0)
    reader = Reader(directory)
    assert reader.state.position == reader.state.settled == JOURNAL_BYTES
    assert read_on(reader) == payloads[IN_A_FILE:]
    reader.close()


def test_a_blank_state_page_without_a_journal_is_an_error(root: Path) -> None:
    directory = left_behind(root, numbered(1))
    (directory / "00000000.journal").unlink()
    zero(directory / "state", 0)
    with pytest.raises(OutboxError, match=r"state is blank and has no journal beside it: delete"):
        Reader(directory)
    assert open_files(root) == []
    (found,) = survey(root)
    assert found.problem


def test_a_blank_state_page_of_a_living_process_is_an_error(root: Path) -> None:
    outbox = make_outbox(root)
    outbox.append(b"one}")
    zero(outbox.directory / "state", 0)
    with pytest.raises(BlankStateError):
        State.open(outbox.directory)
    with pytest.raises(OutboxError, match="is blank although its process lives"):
        Reader(outbox.directory)
    outbox.close()


def test_pages_of_zeros_do_not_hide_synced_events_after_them(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    payloads = numbered(IN_A_FILE)
    directory = left_behind(root, payloads)
    zero(directory / "00000000.journal", 0, 2 * PAGE)
    found = read_directory(directory)
    # Frames of 1,008 bytes: nine touch the two pages.
    assert found == payloads[9:]
    assert damage(root).pieces == 1
    assert "is damaged at byte 0" in caplog.text
    assert waiting(root) == len(found)


@pytest.mark.parametrize("seed", range(40))
def test_blocks_of_zeros_lose_only_the_frames_they_touch_and_are_counted(root: Path, seed: int) -> None:
    chance = random.Random(seed)
    payloads = [b"%d %s}" % (n, b"x" * chance.randrange(1, 900)) for n in range(chance.randrange(40, 300))]
    starts, position = [], 0
    for payload in payloads:
        if position % JOURNAL_BYTES + 8 + len(payload) > JOURNAL_BYTES:
            position += -position % JOURNAL_BYTES
        starts.append((position, position + frame_bytes(len(payload)), payload))
        position += frame_bytes(len(payload))
    directory = left_behind(root, payloads)
    touched: set[bytes] = set()
    for _ in range(chance.randrange(1, 4)):
        # At the boundary of a frame, which is where zeros look like the end, or of a page.
        start, end, _ = chance.choice(starts)
        begin = start if chance.random() < 0.5 else start - start % PAGE
        size = chance.choice([8, end - start, PAGE])
        size = min(size, JOURNAL_BYTES - begin % JOURNAL_BYTES)
        zero(directory / f"{begin // JOURNAL_BYTES:08d}.journal", begin % JOURNAL_BYTES, size)
        touched |= {one for first, behind, one in starts if first < begin + size and begin < behind}
    found = read_directory(directory)
    assert [payload for payload in payloads if payload not in touched] == [one for one in found if one not in touched]
    lost = set(payloads) - set(found)
    assert lost <= touched
    # What was lost at the very end cannot be told from what was never there.
    last = next((index for index, payload in enumerate(reversed(payloads)) if payload not in lost), len(payloads))
    if lost - set(payloads[len(payloads) - last :]):
        assert damage(root).pieces


def test_a_lost_end_mark_is_counted_with_the_frames_before_it(root: Path) -> None:
    payloads = numbered(2 * IN_A_FILE)
    directory = left_behind(root, payloads)
    # The last page of the first file: three frames and the mark.
    zero(directory / "00000000.journal", JOURNAL_BYTES - PAGE)
    found = read_directory(directory)
    assert len(payloads) - 5 <= len(found) < len(payloads)
    assert damage(root).pieces == 1


def test_a_damaged_journal_is_set_aside_once(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    directory = left_behind(root, numbered(20))
    zero(directory / "00000000.journal", frame_bytes(1_000) * 5, frame_bytes(1_000))
    reader = Reader(directory)
    found = read_on(reader)
    reader.commit(reader.position)
    for _ in range(3):
        reader.rewind()
        assert read_on(reader) == []
    reader.close()
    assert len(found) == 19
    assert len([record for record in caplog.records if "is damaged" in record.message]) == 1


def test_files_of_a_dead_process_free_unused_space_and_stay_readable(root: Path) -> None:
    outbox = Outbox(root, journal_bytes=4 << 20, max_bytes=1 << 28, sync_seconds=60)
    payloads = numbered(2_500)  # more than half a file, so that there is a spare one
    for payload in payloads:
        outbox.append(payload)
    wait_for((outbox.directory / "spare.journal").exists, what="the spare file")
    # As kill -9 leaves it.
    outbox._files._closed = True
    os.close(outbox.state._fd)
    outbox.state._fd = -1
    outbox.state._map.close()
    reader = Reader(outbox.directory)
    assert reader.writer_is_dead
    assert read_on(reader) == payloads
    before = sum(path.stat().st_blocks for path in outbox.directory.iterdir())
    reader.give_back()
    after = sum(path.stat().st_blocks for path in outbox.directory.iterdir())
    assert after * 512 < 1_010 * len(payloads) + 3 * PAGE
    assert before - after > (4 << 20) // 512
    reader.rewind()
    assert read_on(reader) == payloads
    reader.close()
    assert [(found.waiting, found.problem) for found in survey(root)] == [(len(payloads), "")]


@pytest.mark.parametrize(
    "spoil",
    [lambda state: state.write_bytes(b"something else" * 300), lambda state: state.chmod(0)],
    ids=["another file", "not to be read"],
)
def test_an_unreadable_outbox_does_not_count_as_empty(
    root: Path, spoil: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    from dispatcher.cli.drain import _is_empty
    from dispatcher.monitoring.ledger import Ledger

    directory = left_behind(root, numbered(3))
    spoil(directory / "state")
    if os.getuid() == 0:
        monkeypatch.setattr(os, "open", _as_another_user(os.open))
    (found,) = survey(root)
    assert found.problem
    assert found.disk_bytes > 0
    ledger = Ledger({}, (found,))
    assert ledger.unreadable == (found,)
    assert not _is_empty(ledger)
    assert json.dumps(found.problem)


def _as_another_user(open_: Callable[..., int]) -> Callable[..., int]:
    """os.open that heeds modes, as it does not for root."""

    def checked(path: object, *arguments: int, **options: int) -> int:
        if Path(str(path)).exists() and not Path(str(path)).stat().st_mode & 0o777:
            raise PermissionError(13, "Permission denied", str(path))
        return open_(path, *arguments, **options)

    return checked
