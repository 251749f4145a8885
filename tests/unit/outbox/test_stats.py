"""The survey counts what waits in a machine's outboxes without disturbing any process."""

from __future__ import annotations

import mmap
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dispatcher.errors import OutboxFullError
from dispatcher.event import Event, encode
from dispatcher.outbox import Reader
from dispatcher.outbox import stats as survey_module
from dispatcher.outbox.journal import frame_bytes
from dispatcher.outbox.state import State
from dispatcher.outbox.stats import OutboxSurvey, Surveyor, survey
from tests.support.outboxes import JOURNAL_BYTES, make_outbox, open_files, read_directory
from tests.support.scripts import run_script


def test_a_survey_of_no_outboxes_is_empty(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert survey(tmp_path / "nowhere") == []
    assert survey(tmp_path / "file") == []
    assert survey(tmp_path) == []


def test_the_survey_counts_events_waiting_in_a_living_processs_outbox(root: Path) -> None:
    outbox = make_outbox(root)
    for _ in range(3):
        outbox.append(b"x" * 99 + b"}")
    (found,) = survey(root)
    assert found == OutboxSurvey(
        name=outbox.name,
        pid=os.getpid(),
        alive=True,
        waiting=3,
        bytes=300,
        disk_bytes=found.disk_bytes,
        refused=0,
    )
    # What the file that is written to has been allocated so far.
    assert 300 < found.disk_bytes <= 4 * mmap.PAGESIZE
    outbox.close()


def test_the_oldest_time_is_that_of_the_first_waiting_event(root: Path) -> None:
    outbox = make_outbox(root)
    moments = [datetime(2026, 1, 31, 12, 0, second, tzinfo=UTC) for second in range(3)]
    for moment in moments:
        outbox.append(encode(Event(id="1", name="a.b", timestamp=moment, data={}, context={})))
    assert [found.oldest_ms for found in survey(root)] == [int(moments[0].timestamp() * 1000)]
    reader = Reader(outbox.directory)
    _, ends = reader.read()
    reader.commit(ends[0])
    assert [found.oldest_ms for found in survey(root)] == [int(moments[1].timestamp() * 1000)]
    reader.commit(ends[2])
    assert [(found.waiting, found.oldest_ms) for found in survey(root)] == [(0, None)]
    reader.close()
    outbox.close()


def test_the_oldest_event_may_be_the_first_of_the_next_file(root: Path) -> None:
    outbox = make_outbox(root)
    moment = datetime(2026, 1, 31, 12, tzinfo=UTC)
    outbox.append(b"x" * (JOURNAL_BYTES - 16))
    outbox.append(encode(Event(id="1", name="a.b", timestamp=moment, data={}, context={})))
    reader = Reader(outbox.directory)
    reader.commit(JOURNAL_BYTES - 8)
    assert [(found.waiting, found.oldest_ms) for found in survey(root)] == [(1, int(moment.timestamp() * 1000))]
    reader.close()
    outbox.close()


def test_a_second_survey_reads_only_what_is_new(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = make_outbox(root)
    surveyor = Surveyor(root)
    for _ in range(3_000):
        outbox.append(b"x" * 99 + b"}")
    assert [found.waiting for found in surveyor.look()] == [3_000]
    read: list[str] = []
    contents = survey_module._contents
    monkeypatch.setattr(survey_module, "_contents", lambda path: read.append(path.name) or contents(path))
    outbox.append(b"x" * 99 + b"}")
    assert [(found.waiting, found.bytes) for found in surveyor.look()] == [(3_001, 300_100)]
    files = sorted(path.name for path in outbox.directory.glob("[0-9]*.journal"))
    assert len(files) > 3
    assert [name for name in read if name in files] == files[-1:]
    outbox.close()


def test_a_second_survey_after_a_relay_counts_the_remaining_events(root: Path) -> None:
    outbox = make_outbox(root)
    surveyor = Surveyor(root)
    for _ in range(3_000):
        outbox.append(b"x" * 99 + b"}")
    surveyor.look()
    reader = Reader(outbox.directory)
    done = 0
    while done < 1_500:
        payloads, ends = reader.read()
        reader.commit(ends[-1])
        done += len(payloads)
    assert [found.waiting for found in surveyor.look()] == [3_000 - done]
    # A store that lost something has it read again.
    reader.rewind(0)
    assert [found.waiting for found in surveyor.look()] == [3_000]
    reader.close()
    outbox.close()


def test_the_survey_counts_across_files(root: Path) -> None:
    outbox = make_outbox(root)
    for _ in range(3_000):
        outbox.append(b"x" * 99 + b"}")
    (found,) = survey(root)
    assert (found.waiting, found.bytes) == (3_000, 300_000)
    outbox.close()


@pytest.mark.parametrize("size", [JOURNAL_BYTES - 8, JOURNAL_BYTES - 16, JOURNAL_BYTES - 24])
def test_the_survey_counts_across_a_completely_full_file(root: Path, size: int) -> None:
    outbox = make_outbox(root)
    for _ in range(3):
        outbox.append(b"x" * size)
    assert [(found.waiting, found.bytes) for found in survey(root)] == [(3, 3 * size)]
    outbox.close()


def test_relayed_events_do_not_count_as_waiting(root: Path) -> None:
    outbox = make_outbox(root)
    for _ in range(1_000):
        outbox.append(b"x" * 99 + b"}")
    reader = Reader(outbox.directory)
    _, ends = reader.read()
    reader.commit(ends[9])
    reader.discard_before(ends[9])
    assert [found.waiting for found in survey(root)] == [990]
    while ends:
        reader.commit(ends[-1])
        reader.discard_before(ends[-1])
        _, ends = reader.read()
    assert [(found.waiting, found.bytes) for found in survey(root)] == [(0, 0)]
    reader.close()
    outbox.close()


def test_dead_and_living_processes_are_distinguished(root: Path) -> None:
    code = """
child = os.fork()
if child == 0:
    make_outbox(root).append(b"from the dead}")
    os.kill(os.getpid(), 9)
os.waitpid(child, 0)
own = make_outbox(root)
from dispatcher.outbox.stats import survey
for found in survey(root):
    print(found.pid == child, found.pid == os.getpid(), found.alive, found.waiting)
"""
    assert sorted(run_script(code, root).splitlines()) == ["False True True 0", "True False False 1"]


def test_the_survey_releases_every_lock(root: Path) -> None:
    outbox = make_outbox(root)
    outbox.append(b"one}")
    outbox.close()
    assert [found.alive for found in survey(root)] == [False]
    assert open_files(root) == []
    state = State.open(outbox.directory)
    assert state.try_lock()
    state.close()


def test_a_relay_can_read_during_a_survey(root: Path) -> None:
    outbox = make_outbox(root)
    outbox.append(b"one}")
    reader = Reader(outbox.directory)
    survey(root)
    assert reader.read()[0] == [b"one}"]
    reader.close()
    outbox.close()


def test_refused_events_are_counted(root: Path) -> None:
    outbox = make_outbox(root, max_bytes=JOURNAL_BYTES)
    outbox.append(b"x" * 60_000)
    for _ in range(2):
        with pytest.raises(OutboxFullError):
            outbox.append(b"x" * 60_000)
    assert [found.refused for found in survey(root)] == [2]
    outbox.close()


def test_outboxes_are_sorted_by_name_and_other_directories_ignored(root: Path) -> None:
    outboxes = [make_outbox(root) for _ in range(4)]
    for outbox in outboxes:
        outbox.append(b"one}")
    (outboxes[0].directory / "state").write_bytes(b"not this")
    (root / "empty").mkdir()
    found = survey(root)
    assert [one.name for one in found] == sorted(outbox.name for outbox in outboxes)
    # Counted, with why its events are not.
    assert [one.name for one in found if one.problem] == [outboxes[0].name]
    assert [one.waiting for one in found if not one.problem] == [1, 1, 1]
    for outbox in outboxes:
        outbox._files.close()
        outbox.state.close()


def test_events_after_damage_are_counted_too(root: Path) -> None:
    outbox = make_outbox(root)
    for _ in range(10):
        outbox.append(b"x" * 99 + b"}")
    outbox.close()
    with (outbox.directory / "00000000.journal").open("r+b") as journal:
        journal.seek(5 * frame_bytes(100))
        journal.write(b"\xf0\xff\xff\x7f")
    (found,) = survey(root)
    assert (found.waiting, found.bytes) == (9, 900)
    assert len(read_directory(outbox.directory)) == 9
