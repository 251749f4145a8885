"""Other processes create and delete outboxes at any time: reading what they own may not fail for that."""

from __future__ import annotations

import ast
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import dispatcher
from dispatcher.doctor.checks import outbox as doctor
from dispatcher.outbox import Outbox, find_outboxes, journals_bytes
from dispatcher.outbox.listing import remove_litter, remove_outbox
from dispatcher.outbox.stats import survey
from tests.support.outboxes import make_outbox, read_directory

PACKAGE = Path(dispatcher.__file__).parent
# What looks at directories of other processes, but for the one file that knows how.
LOOKING = [
    *(path for path in (PACKAGE / "outbox").glob("*.py") if path.name != "listing.py"),
    *(PACKAGE / "relay").glob("*.py"),
    *(PACKAGE / "monitoring").rglob("*.py"),
    *(PACKAGE / "tracker").glob("*.py"),
    PACKAGE / "doctor" / "checks" / "outbox.py",
]


@contextmanager
def neighbours(root: Path, count: int = 3) -> Iterator[Callable[[], int]]:
    """Directories like those of other processes that are made and removed all the while, as fast as it goes."""
    stopped = threading.Event()
    made = [0] * count

    def come_and_go(number: int) -> None:
        while not stopped.is_set():
            directory = root / f"{number}-{made[number] % 7}"
            directory.mkdir(parents=True)
            for name in ("state", "00000000.journal", "spare.journal", "00000000.puts"):
                (directory / name).write_bytes(bytes(8))
            shutil.rmtree(directory)
            made[number] += 1

    threads = [threading.Thread(target=come_and_go, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield lambda: sum(made)
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


def test_emit_refuses_no_event_while_other_outboxes_come_and_go(root: Path) -> None:
    with neighbours(root) as made:
        outbox = Outbox(root, journal_bytes=4_096, max_bytes=1 << 30, sync_seconds=60)
        payloads = [b"%d %s}" % (number, b"x" * 900) for number in range(1_200)]
        for payload in payloads:
            outbox.append(payload)
        assert outbox.state.refused == 0
        assert read_directory(outbox.directory) == payloads
        outbox.close()
        for _ in range(20):
            make_outbox(root).close()
        assert made() > 100


def test_no_survey_or_check_fails_while_outboxes_come_and_go(root: Path) -> None:
    root.mkdir()
    with neighbours(root) as made:
        while made() < 1_500:
            survey(root)
            find_outboxes(root)
            journals_bytes(root)
            doctor.permissions(root)
            list(doctor.unreadable(root))
            list(doctor.left_over(root))
            doctor.damaged(root)


def test_two_removals_of_the_same_outbox_both_succeed(root: Path) -> None:
    for _ in range(100):
        outbox = make_outbox(root)
        outbox.append(b"one}")
        directory = outbox.directory
        start = threading.Barrier(3)

        def remove(directory: Path = directory, start: threading.Barrier = start) -> None:
            start.wait()
            remove_outbox(directory)

        with ThreadPoolExecutor(3) as threads:
            for done in [threads.submit(remove) for _ in range(3)]:
                done.result()
        with suppress(FileNotFoundError):
            shutil.rmtree(directory)
        outbox.close()


@pytest.mark.parametrize(
    ("names", "goes"),
    [
        ((), True),
        (("relay.lock",), True),
        (("relay.lock", "00000000.puts"), True),
        (("state", "relay.lock"), False),
        (("notes.txt",), False),
    ],
    ids=["empty", "a lock", "a lock and notes", "an outbox", "somebody's file"],
)
def test_only_directories_that_cannot_hold_events_are_litter(root: Path, names: tuple[str, ...], goes: bool) -> None:
    directory = root / "7-a"
    directory.mkdir(parents=True)
    for name in names:
        (directory / name).write_bytes(b"")
    assert remove_litter(directory) is goes
    assert directory.exists() is not goes


def test_a_journal_with_contents_is_not_litter(root: Path) -> None:
    outbox = make_outbox(root)
    outbox.append(b"one}")
    outbox.close()
    (outbox.directory / "state").unlink()
    assert not remove_litter(outbox.directory)
    assert os.listdir(outbox.directory) == ["00000000.journal"]


def test_directories_of_others_are_listed_only_through_the_listing_module() -> None:
    raising = {"glob", "rglob", "iterdir", "scandir", "listdir", "walk"}
    found = []
    for path in LOOKING:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in raising:
                found.append(f"{path.name}:{node.lineno} calls {node.func.attr}")
    assert found == [], "use dispatcher.outbox.listing, which expects all to vanish"
