"""The reader returns every whole event once and in order, in whatever state a journal was left."""

from __future__ import annotations

import fcntl
import os
import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.errors import OutboxError, OutboxInUseError
from dispatcher.outbox import Outbox, Reader, find_outboxes
from dispatcher.outbox.journal import HEADER_BYTES, ROTATED, frame_bytes
from dispatcher.outbox.reader import SLICE_FRAMES
from dispatcher.outbox.state import State
from tests.support.outboxes import JOURNAL_BYTES, make_outbox, open_files, read_directory, read_on
from tests.support.scripts import run_script

#: What fits into one file of these payloads.
IN_A_FILE = JOURNAL_BYTES // frame_bytes(1_000)


def numbered(count: int, start: int = 0) -> list[bytes]:
    return [f'{{"n":{number:0994d}}}'.encode() for number in range(start, start + count)]


def left_behind(root: Path, payloads: list[bytes], *, journal_bytes: int = JOURNAL_BYTES) -> Path:
    """The directory of a process that appended these and died."""
    outbox = make_outbox(root, journal_bytes=journal_bytes)
    for payload in payloads:
        outbox.append(payload)
    outbox.close()
    return outbox.directory


def change(path: Path, at: int, to: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(to)


def set_aside(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((root / "damaged").glob("*"))}


# Reading and committing


def test_an_empty_outbox_has_nothing_to_read(outbox: Outbox) -> None:
    reader = Reader(outbox.directory)
    assert reader.read() == ([], [])
    assert reader.position == 0
    reader.close()


def test_each_payload_comes_with_the_position_after_it(outbox: Outbox) -> None:
    for payload in (b"one}", b"three}", b"f" * 100):
        outbox.append(payload)
    reader = Reader(outbox.directory)
    assert reader.read() == ([b"one}", b"three}", b"f" * 100], [16, 32, 144])
    assert reader.position == outbox.position == 144
    reader.close()


def test_a_read_returns_at_most_one_slice(outbox: Outbox) -> None:
    for payload in numbered(SLICE_FRAMES + 1):
        outbox.append(payload)
    reader = Reader(outbox.directory)
    assert [len(reader.read()[0]) for _ in range(3)] == [SLICE_FRAMES, 1, 0]
    reader.close()


def test_a_reader_at_the_end_sees_later_appends(outbox: Outbox) -> None:
    reader = Reader(outbox.directory)
    for number in range(3 * IN_A_FILE):
        (payload,) = numbered(1, number)
        outbox.append(payload)
        assert reader.read() == ([payload], [outbox.position])
        assert reader.read() == ([], [])
    reader.close()


class Overtaken(Reader):
    """One that looks where the next event will be just before its writer goes on."""

    meanwhile: Callable[[], None] | None = None

    def _pread(self, index: int, offset: int, size: int) -> bytes:
        found = super()._pread(index, offset, size)
        if not found.strip(b"\0") and self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        return found


@pytest.mark.parametrize("before", [3, 4])
@pytest.mark.parametrize("dies", [False, True])
def test_a_reader_follows_the_writer_to_the_next_file(root: Path, before: int, dies: bool) -> None:
    outbox = make_outbox(root)
    # Four fill a file.
    payloads = [bytes([n]) * (JOURNAL_BYTES // 4 - 2 * HEADER_BYTES) for n in range(1, 6)]
    for payload in payloads[:before]:
        outbox.append(payload)
    reader = Overtaken(outbox.directory)
    assert read_on(reader) == payloads[:before]

    def go_on() -> None:
        for payload in payloads[before:]:
            outbox.append(payload)
        if dies:
            outbox.close()

    reader.meanwhile = go_on
    assert read_on(reader) == payloads[before:]
    assert not (root / "damaged").exists()
    reader.close()
    outbox.close()


def test_a_commit_is_remembered_and_discarding_deletes_earlier_files(outbox: Outbox) -> None:
    payloads = numbered(3 * IN_A_FILE + 5)
    for payload in payloads:
        outbox.append(payload)
    reader = Reader(outbox.directory)
    found, ends = [], []
    while len(found) < 2 * IN_A_FILE + 3:
        more, more_ends = reader.read()
        found, ends = found + more, ends + more_ends
    reader.commit(ends[2 * IN_A_FILE + 2])
    reader.discard_before(ends[2 * IN_A_FILE + 2])
    assert sorted(path.name for path in outbox.directory.glob("0*.journal")) == ["00000002.journal", "00000003.journal"]
    assert outbox.has_relayed(ends[2 * IN_A_FILE + 2])
    assert not outbox.has_relayed(ends[2 * IN_A_FILE + 2] + 1)
    reader.close()
    assert read_directory(outbox.directory) == payloads[2 * IN_A_FILE + 3 :]


def test_uncommitted_events_are_read_again(outbox: Outbox) -> None:
    payloads = numbered(2 * IN_A_FILE)
    for payload in payloads:
        outbox.append(payload)
    reader = Reader(outbox.directory)
    (_, ends) = reader.read()
    reader.commit(ends[0])
    reader.discard_before(ends[0])
    read_on(reader)
    reader.rewind()
    assert read_on(reader) == payloads[1:]
    reader.close()


def test_files_that_a_killed_relay_left_are_deleted(outbox: Outbox) -> None:
    for payload in numbered(3 * IN_A_FILE):
        outbox.append(payload)
    # Killed between the two halves of a commit.
    outbox.state.position = 2 * JOURNAL_BYTES
    reader = Reader(outbox.directory)
    _, ends = reader.read()
    reader.commit(ends[0])
    reader.discard_before(ends[0])
    assert [path.name for path in outbox.directory.glob("0*.journal")] == ["00000002.journal"]
    reader.close()


def test_a_payload_larger_than_the_read_size_is_read(root: Path) -> None:
    payloads = [b"a}", b"x" * 1_500_000 + b"}", b"b}", b"y" * 900_000 + b"}"]
    assert read_directory(left_behind(root, payloads, journal_bytes=2 << 20)) == payloads


# Who may read


def test_a_second_relay_is_refused(outbox: Outbox) -> None:
    reader = Reader(outbox.directory)
    for _ in range(2):
        with pytest.raises(OutboxInUseError, match=f"another relay reads .*{outbox.name}"):
            Reader(outbox.directory)
    reader.close()
    reader.close()
    Reader(outbox.directory).close()


def test_a_relay_excludes_others_until_its_process_dies(root: Path) -> None:
    directory = left_behind(root, [b"one}"])
    code = """
from dispatcher.errors import OutboxInUseError
from dispatcher.outbox import Reader, find_outboxes
(directory,) = find_outboxes(root)
ready, release = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    reader = Reader(directory)
    os.write(ready[1], b".")
    os.read(release[0], 1)
os.read(ready[0], 1)
try:
    Reader(directory)
except OutboxInUseError:
    print("in use")
os.kill(child, 9)
os.waitpid(child, 0)
reader = Reader(directory)
print(reader.read()[0])
"""
    assert run_script(code, root).splitlines() == ["in use", "[b'one}']"]
    assert directory.exists()


def test_a_reader_that_fails_to_open_keeps_no_file_open(outbox: Outbox) -> None:
    reader = Reader(outbox.directory)
    with pytest.raises(OutboxInUseError):
        Reader(outbox.directory)
    reader.close()
    (outbox.directory / "state").rename(outbox.directory / "elsewhere")
    with pytest.raises(FileNotFoundError):
        Reader(outbox.directory)
    assert str(outbox.directory / "relay.lock") not in open_files(outbox.directory)
    (outbox.directory / "elsewhere").rename(outbox.directory / "state")
    Reader(outbox.directory).close()


def test_only_a_dead_writers_directory_is_taken_over(root: Path) -> None:
    code = """
from dispatcher.outbox import Reader, find_outboxes
child = os.fork()
if child == 0:
    outbox = make_outbox(root)
    outbox.append(b"from the dead}")
    os.kill(os.getpid(), 9)
os.waitpid(child, 0)
own = make_outbox(root)
for directory in find_outboxes(root):
    reader = Reader(directory)
    print(directory == own.directory, reader.writer_is_dead, reader.state.pid == child, reader.read()[0])
    if reader.writer_is_dead:
        reader.commit(reader.position)
        reader.discard_before(reader.position)
        reader.remove()
    reader.close()
print(find_outboxes(root) == [own.directory])
"""
    assert sorted(run_script(code, root).splitlines()) == [
        "False True True [b'from the dead}']",
        "True",
        "True False False []",
    ]


def test_only_one_reader_can_hold_a_dead_writers_lock(root: Path) -> None:
    directory = left_behind(root, [b"one}"])
    reader = Reader(directory)
    assert reader.writer_is_dead
    state = State.open(directory)
    assert not state.try_lock()
    reader.close()
    assert state.try_lock()
    state.close()


def test_a_removed_directory_is_deleted_with_its_files(root: Path) -> None:
    directory = left_behind(root, numbered(2 * IN_A_FILE))
    (directory / "spare.journal").write_bytes(bytes(100))
    reader = Reader(directory)
    reader.remove()
    reader.close()
    assert not directory.exists()


def test_removing_a_directory_that_its_writer_removed_does_not_fail(root: Path) -> None:
    outbox = make_outbox(root)
    reader = Reader(outbox.directory)
    outbox.close()
    assert not outbox.directory.exists()
    assert reader.writer_is_dead
    assert reader.read() == ([], [])
    reader.remove()
    reader.close()


# Journals that are not as they were left


def test_a_file_truncated_within_a_frame_loses_that_frame_and_logs_it(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    payloads = numbered(2 * IN_A_FILE + 3)
    directory = left_behind(root, payloads)
    os.truncate(directory / "00000002.journal", frame_bytes(1_000) + HEADER_BYTES + 400)
    assert read_directory(directory) == payloads[: 2 * IN_A_FILE + 1]
    (rest,) = set_aside(root).values()
    assert rest.endswith(payloads[2 * IN_A_FILE + 1][:400])
    (message,) = caplog.messages
    assert f"the journal {directory / '00000002.journal'} is damaged at byte {frame_bytes(1_000)}" in message
    assert "Check the disk, and look for readable events in that file" in message


@pytest.mark.parametrize("left", [0, 3, 8, 500, frame_bytes(1_000), frame_bytes(1_000) + 4])
def test_a_file_truncated_anywhere_does_not_hide_the_next_one(root: Path, left: int) -> None:
    payloads = numbered(3 * IN_A_FILE)
    directory = left_behind(root, payloads)
    os.truncate(directory / "00000001.journal", left)
    whole = left // frame_bytes(1_000)
    assert read_directory(directory) == [
        *payloads[: IN_A_FILE + whole],
        *payloads[2 * IN_A_FILE :],
    ]
    assert len(set_aside(root)) == 1


@pytest.mark.parametrize("missing", [[0], [1], [0, 1], [1, 2], [3], [0, 3]], ids=str)
def test_missing_files_do_not_hide_the_others(root: Path, missing: list[int]) -> None:
    payloads = numbered(4 * IN_A_FILE)
    directory = left_behind(root, payloads)
    for index in missing:
        (directory / f"{index:08d}.journal").unlink()
    kept = [index for index in range(4) if index not in missing]
    expected = [payload for index in kept for payload in payloads[index * IN_A_FILE : (index + 1) * IN_A_FILE]]
    assert read_directory(directory) == expected


def test_a_missing_file_is_logged(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    directory = left_behind(root, numbered(2 * IN_A_FILE))
    (directory / "00000000.journal").unlink()
    read_directory(directory)
    assert f"the journal {directory / '00000000.journal'} is damaged at byte 0" in caplog.text


@pytest.mark.parametrize("part", ["length", "checksum", "payload"])
@pytest.mark.parametrize("place", ["first", "middle", "last in its file", "last of all"])
@pytest.mark.parametrize("alive", [True, False], ids=["alive", "dead"])
def test_a_flipped_bit_loses_only_its_own_frame(root: Path, part: str, place: str, alive: bool) -> None:
    payloads = numbered(2 * IN_A_FILE)
    outbox = make_outbox(root)
    for payload in payloads:
        outbox.append(payload)
    hit = {"first": 0, "middle": 30, "last in its file": IN_A_FILE - 1, "last of all": 2 * IN_A_FILE - 1}[place]
    file, number = divmod(hit, IN_A_FILE)
    at = number * frame_bytes(1_000) + {"length": 1, "checksum": 6, "payload": HEADER_BYTES + 500}[part]
    path = outbox.directory / f"{file:08d}.journal"
    change(path, at, bytes([path.read_bytes()[at] ^ 0x10]))
    if not alive:
        outbox.close()
    reader = Reader(outbox.directory)
    found = read_on(reader)
    if alive:
        outbox.append(b"and on}")
        found += read_on(reader)
        payloads.append(b"and on}")
        outbox.close()
    reader.close()
    assert found == payloads[:hit] + payloads[hit + 1 :]
    if place != "last of all" or not alive:
        assert len(set_aside(root)) == 1


@settings(max_examples=60, deadline=None)
@given(choices=st.randoms(use_true_random=False), flips=st.integers(1, 4))
def test_randomly_changed_bytes_lose_only_their_own_frames(
    tmp_path_factory: pytest.TempPathFactory, choices: random.Random, flips: int
) -> None:
    root = tmp_path_factory.mktemp("random")
    payloads = [b'{"n":%d,"x":"%s"}' % (n, b"x" * choices.randrange(300)) for n in range(60)]
    directory = left_behind(root, payloads, journal_bytes=4_096)
    starts: list[tuple[int, int, bytes]] = []
    index = offset = 0
    for payload in payloads:
        if offset + HEADER_BYTES + len(payload) > 4_096:
            index, offset = index + 1, 0
        starts.append((index * 4_096 + offset, index * 4_096 + offset + frame_bytes(len(payload)), payload))
        offset += frame_bytes(len(payload))
    touched: set[bytes] = set()
    for _ in range(flips):
        at = choices.randrange(index * 4_096 + offset)
        path = directory / f"{at // 4_096:08d}.journal"
        change(path, at % 4_096, bytes([path.read_bytes()[at % 4_096] ^ (1 << choices.randrange(8))]))
        touched |= {payload for start, end, payload in starts if start <= at < end}
    found = read_directory(directory)
    assert set(payloads) - set(found) <= touched
    assert found == [payload for payload in payloads if payload in set(found)]


def test_a_lost_end_mark_does_not_hide_the_next_file(root: Path) -> None:
    payloads = numbered(2 * IN_A_FILE)
    directory = left_behind(root, payloads)
    at = IN_A_FILE * frame_bytes(1_000)
    assert (directory / "00000000.journal").read_bytes()[at : at + 8] == struct.pack("@Q", ROTATED)
    change(directory / "00000000.journal", at, bytes(8))
    assert read_directory(directory) == payloads


def test_a_writer_killed_before_the_end_mark_damages_nothing(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    directory = left_behind(root, numbered(IN_A_FILE))
    (directory / "00000001.journal").write_bytes(bytes(JOURNAL_BYTES))
    assert read_directory(directory) == numbered(IN_A_FILE)
    assert set_aside(root) == {}
    assert not caplog.records


def test_a_reader_waits_for_the_end_mark_of_a_living_writer(outbox: Outbox) -> None:
    for payload in numbered(IN_A_FILE):
        outbox.append(payload)
    (outbox.directory / "00000001.journal").write_bytes(bytes(JOURNAL_BYTES))
    reader = Reader(outbox.directory)
    assert read_on(reader) == numbered(IN_A_FILE)
    assert reader.position < JOURNAL_BYTES
    outbox.append(b"small}")
    assert read_on(reader) == [b"small}"]
    reader.close()


def test_a_partly_visible_frame_is_read_once_it_is_whole(outbox: Outbox) -> None:
    # As another processor may see the header before the payload.
    outbox.append(b"whole}")
    outbox.append(b"next}")
    path = outbox.directory / "00000000.journal"
    change(path, HEADER_BYTES, b"w\0\0\0e}")
    reader = Reader(outbox.directory)
    assert reader.read() == ([], [])
    change(path, HEADER_BYTES, b"whole}")
    assert reader.read() == ([b"whole}", b"next}"], [16, 32])
    reader.close()


def test_zeros_at_the_unused_end_of_a_file_are_not_damage(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    directory = left_behind(root, [b"one}"])
    assert read_directory(directory) == [b"one}"]
    assert not caplog.records
    assert find_outboxes(root) == [directory]


def test_reading_goes_on_if_a_damaged_file_cannot_be_set_aside(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    directory = left_behind(root, numbered(3))
    (root / "damaged").write_text("a file in the way")
    change(directory / "00000000.journal", HEADER_BYTES, b"X")
    assert read_directory(directory) == numbered(2, 1)
    assert "could not be set aside" in caplog.text


@pytest.mark.parametrize(
    "spoil",
    [
        lambda state: os.truncate(state, 100),
        lambda state: change(state, 0, b"SOMETHING"),
        lambda state: change(state, 8, bytes(8)),
        lambda state: change(state, 8, b"\x07"),
    ],
    ids=["cut off", "another file", "no size", "an odd size"],
)
def test_an_invalid_state_file_is_named_with_a_remedy(root: Path, spoil: Callable[[Path], None]) -> None:
    directory = left_behind(root, [b"one}"])
    spoil(directory / "state")
    with pytest.raises(OutboxError) as caught:
        Reader(directory)
    assert f"{directory / 'state'} is not the state file of an outbox" in str(caught.value)
    assert f"move the directory {directory} away" in str(caught.value)
    assert open_files(root) == []


def test_an_impossible_position_hides_no_event(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    payloads = numbered(2 * IN_A_FILE)
    directory = left_behind(root, payloads)
    change(directory / "state", 16, struct.pack("@Q", 17 * JOURNAL_BYTES))
    assert read_directory(directory) == payloads
    assert f"the position in {directory / 'state'} is beyond every journal" in caplog.text


# Finding them


def test_only_outboxes_are_found(root: Path) -> None:
    directory = left_behind(root, [b"one}"])
    (root / "damaged").mkdir()
    (root / "a-file").write_text("")
    hidden = root / ".1-unfinished"
    hidden.mkdir()
    (hidden / "state").write_text("")
    assert find_outboxes(root) == [directory]


def test_a_missing_directory_has_no_outboxes(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert find_outboxes(tmp_path / "nowhere") == []
    assert find_outboxes(tmp_path / "file") == []
    assert find_outboxes(tmp_path / "file" / "below") == []


def test_a_relays_lock_does_not_block_the_writer(outbox: Outbox) -> None:
    reader = Reader(outbox.directory)
    with (outbox.directory / "state").open("rb") as state, pytest.raises(BlockingIOError):
        fcntl.flock(state, fcntl.LOCK_EX | fcntl.LOCK_NB)
    outbox.append(b"still}")
    assert read_on(reader) == [b"still}"]
    reader.close()
