"""The sleeper: every wake ends a sleep, from wherever it comes, and reaches no other file."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatcher.outbox.relay_fifo import APPENDED, OPENED, open_fifo, wake_relay
from dispatcher.process.inheritance import release_inherited
from dispatcher.process.sleeper import Sleeper
from tests.support.waiting import PATIENCE

LONG_SECONDS = 2 * PATIENCE


@pytest.fixture(params=["eventfd", "pipe"])
def sleeper(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sleeper]:
    if request.param == "pipe":
        monkeypatch.delattr(os, "eventfd", raising=False)
    made = Sleeper()
    yield made
    made.close()


def seconds_asleep(sleeper: Sleeper, seconds: float = LONG_SECONDS) -> float:
    began = time.monotonic()
    sleeper.sleep(seconds)
    return time.monotonic() - began


def test_it_sleeps_for_as_long_as_nobody_wakes_it(sleeper: Sleeper) -> None:
    assert 0.1 <= seconds_asleep(sleeper, 0.1) < PATIENCE


def test_a_wake_before_the_sleep_ends_it_at_once_and_only_once(sleeper: Sleeper) -> None:
    for _ in range(3):
        sleeper.wake()
    assert seconds_asleep(sleeper) < PATIENCE
    assert seconds_asleep(sleeper, 0.1) >= 0.1


def test_another_thread_wakes_it(sleeper: Sleeper) -> None:
    waking = threading.Timer(0.1, sleeper.wake)
    waking.start()
    assert seconds_asleep(sleeper) < PATIENCE
    waking.join()


def test_a_signal_handler_wakes_it_in_the_sleep_and_in_the_middle_of_a_wake(sleeper: Sleeper) -> None:
    before = signal.signal(signal.SIGALRM, lambda *_: sleeper.wake())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        assert seconds_asleep(sleeper) < PATIENCE
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            sleeper.wake()
        signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert seconds_asleep(sleeper) < PATIENCE


def test_more_wakes_than_a_pipe_holds_block_nobody(sleeper: Sleeper) -> None:
    for _ in range(20_000):
        sleeper.wake()
    assert seconds_asleep(sleeper) < PATIENCE


def test_a_forked_child_wakes_nobody_and_keeps_no_file(sleeper: Sleeper) -> None:
    files = len(os.listdir("/proc/self/fd"))
    pid = os.fork()
    if pid == 0:
        try:
            release_inherited()
            sleeper.wake()
            sleeper.sleep(LONG_SECONDS)
            os._exit(0 if len(os.listdir("/proc/self/fd")) < files else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert seconds_asleep(sleeper, 0.1) >= 0.1
    sleeper.wake()
    assert seconds_asleep(sleeper) < PATIENCE


def test_a_wake_after_it_was_closed_is_not_written_to_the_next_file(sleeper: Sleeper, tmp_path: Path) -> None:
    sleeper.close()
    files = [(tmp_path / str(n)).open("wb", buffering=0) for n in range(4)]
    sleeper.wake()
    sleeper.close()
    assert [file.tell() for file in files] == [0] * 4  # none was closed either
    for file in files:
        file.close()


def test_another_process_wakes_it_by_the_fifo_and_says_what_for(sleeper: Sleeper, tmp_path: Path) -> None:
    wake_relay(tmp_path, APPENDED)  # nobody listens, and nothing happens
    sleeper.listen(open_fifo(tmp_path))
    if os.fork() == 0:
        wake_relay(tmp_path, OPENED)
        os._exit(0)
    os.wait()
    assert sleeper.sleep(LONG_SECONDS) == OPENED
    wake_relay(tmp_path, APPENDED)
    assert sleeper.sleep(0.05, hears_fifo=False) == b""
    assert sleeper.sleep(LONG_SECONDS) == APPENDED


def test_a_fifo_without_a_reader_or_full_blocks_no_writer(tmp_path: Path) -> None:
    wake_relay(tmp_path / "missing", APPENDED)
    fifo = open_fifo(tmp_path)
    for _ in range(70_000):
        wake_relay(tmp_path, APPENDED)
    os.close(fifo)
    wake_relay(tmp_path, APPENDED)


def test_a_file_in_the_place_of_the_fifo_is_left_alone(tmp_path: Path) -> None:
    os.close(open_fifo(tmp_path))
    [place] = tmp_path.iterdir()
    place.unlink()
    place.write_bytes(b"mine")
    with pytest.raises(OSError, match="is not a FIFO: delete it"):
        open_fifo(tmp_path)
    assert place.read_bytes() == b"mine"
