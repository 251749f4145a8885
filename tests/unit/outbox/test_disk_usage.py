"""The account of what all outboxes take. A step costs the same beside one outbox and beside hundreds."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from dispatcher.errors import OutboxFullError
from dispatcher.outbox import disk_usage as module
from dispatcher.outbox import journals_bytes
from dispatcher.outbox.disk_usage import DiskUsage
from tests.support.outboxes import JOURNAL_BYTES, make_outbox

MIB = 1 << 20


def neighbours(root: Path, count: int) -> None:
    """Outboxes of other processes, as far as the sum is concerned."""
    for number in range(count):
        directory = root / f"{number + 1}-{number:016x}"
        directory.mkdir(parents=True)
        (directory / "state").write_bytes(bytes(4096))
        (directory / "00000000.journal").write_bytes(bytes(8192))
    DiskUsage(root).count()


def opened_files(root: Path) -> set[str]:
    """The directories under ``root``, relative to it, that one life of an outbox has opened or looked into."""
    code = f"""
import os, sys
seen = set()
def note(event, arguments):
    if event in ("open", "os.listdir", "os.scandir"):
        seen.add(str(arguments[0]))
sys.path.insert(0, {os.getcwd()!r})
from pathlib import Path
from tests.support.outboxes import make_outbox
root = Path({str(root)!r})
sys.addaudithook(note)
outbox = make_outbox(root, journal_bytes=65_536)
for n in range(300):
    outbox.append(b"x" * 1000)
outbox.close()
print(*sorted(path for path in seen if path.startswith(str(root)) and outbox.name not in path), sep="\\n")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {re.sub(r"^.*/", "", line) for line in done.stdout.splitlines()}


@pytest.mark.parametrize("count", [1, 300])
def test_opening_growing_and_rotating_look_into_no_other_outbox(tmp_path: Path, count: int) -> None:
    neighbours(tmp_path, count)
    assert opened_files(tmp_path) <= {".usage", tmp_path.name}


def test_an_outbox_with_one_event_takes_a_few_pages(tmp_path: Path) -> None:
    outbox = make_outbox(tmp_path, journal_bytes=4 * MIB)
    outbox.append(b"x" * 700)
    assert journals_bytes(tmp_path) <= 2 * 4096
    assert sum(path.stat().st_blocks * 512 for path in outbox.directory.iterdir()) <= 4 * 4096
    outbox.close()


def test_the_account_knows_what_was_allocated_and_learns_what_was_deleted(tmp_path: Path) -> None:
    usage = DiskUsage(tmp_path)
    outbox = make_outbox(tmp_path)
    for _ in range(200):
        outbox.append(b"x" * 1000)
    assert journals_bytes(tmp_path) <= usage.total() <= journals_bytes(tmp_path) + JOURNAL_BYTES
    outbox.append(b"x" * 60_000)
    outbox.close()
    for path in outbox.directory.glob("*.journal"):
        path.unlink()
    assert usage.total() > 0
    assert not usage.exceeds(0)
    assert usage.total() == 0


def test_near_the_limit_everything_is_counted_before_anything_is_refused(tmp_path: Path) -> None:
    neighbours(tmp_path, 4)
    usage = DiskUsage(tmp_path)
    usage.add(1_000_000, 2_000_000)  # and never allocated
    usage.add(1_000_000, 2_000_000)
    with pytest.raises(OSError, match="32,768 bytes are in use") as raised:
        usage.add(2_000_000, 2_000_000)
    assert raised.value.errno == errno.EDQUOT


def test_many_processes_together_stay_within_the_limit(tmp_path: Path) -> None:
    limit = 8 * JOURNAL_BYTES
    outboxes = [make_outbox(tmp_path, max_bytes=limit) for _ in range(6)]

    def fill(number: int) -> None:
        with suppress(OutboxFullError):
            for _ in range(10_000):
                outboxes[number].append(b"x" * 1000)
            raise AssertionError("it takes more than all together may")

    threads = [threading.Thread(target=fill, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Those that count in the same moment may each allocate one step: emit, and the thread that makes the next file.
    assert journals_bytes(tmp_path) <= limit + 2 * 6 * JOURNAL_BYTES
    for outbox in outboxes:
        outbox.close()


def test_no_number_is_lost_where_several_add_at_once(tmp_path: Path) -> None:
    neighbours(tmp_path, 1)
    code = f"""
import sys
sys.path.insert(0, {os.getcwd()!r})
from pathlib import Path
from dispatcher.outbox.disk_usage import DiskUsage
usage = DiskUsage(Path({str(tmp_path)!r}))
print("ready", flush=True)
sys.stdin.readline()
for _ in range(2000): usage.add(8, {MIB})
"""
    adding = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(3)
    ]
    for one in adding:
        assert one.stdout is not None
        assert one.stdout.readline() == b"ready\n"
    for one in adding:
        assert one.stdin is not None
        one.stdin.write(b"go\n")
        one.stdin.flush()
    for one in adding:
        one.communicate()
        assert one.returncode == 0
    assert DiskUsage(tmp_path).total() == 8192 + 3 * 2000 * 8


@pytest.mark.parametrize("content", [b"", bytes(24), b"\xff" * 24, b"x" * 5])
def test_an_account_that_is_damaged_is_made_anew(tmp_path: Path, content: bytes) -> None:
    neighbours(tmp_path, 3)
    (tmp_path / ".usage").write_bytes(content)
    assert DiskUsage(tmp_path).total() == 3 * 8192
    DiskUsage(tmp_path).add(8192, MIB)
    assert DiskUsage(tmp_path).total() == 4 * 8192


def test_an_account_that_cannot_be_written_costs_a_count_each_time(tmp_path: Path) -> None:
    neighbours(tmp_path, 3)
    (tmp_path / ".usage").unlink()
    (tmp_path / ".usage").mkdir()
    usage = DiskUsage(tmp_path)
    usage.add(8192, MIB)
    assert usage.total() == 3 * 8192
    with pytest.raises(OSError, match="24,576 bytes are in use"):
        usage.add(8192, 3 * 8192)


def test_a_relay_counts_where_something_was_allocated_and_seldom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    neighbours(tmp_path, 3)
    counts: list[Path] = []

    def count(root: Path) -> int:
        counts.append(root)
        return journals_bytes(root)

    monkeypatch.setattr(module, "journals_bytes", count)
    usage = DiskUsage(tmp_path)
    usage.count_now_and_then()
    assert counts == []
    usage.add(8192, MIB)
    usage.count_now_and_then()
    usage.add(8192, MIB)
    usage.count_now_and_then()
    assert len(counts) == 1
