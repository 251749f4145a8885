"""An outbox whose relay sleeps: no event is left lying, however the writers and the relay interleave."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.outbox import Outbox, Reader
from dispatcher.outbox.state import AWAKE, PROCESS_SLEEPS, THREAD_SLEEPS
from dispatcher.process.sleeper import Sleeper
from dispatcher.relay.relayed_outbox import RelayedOutbox
from dispatcher.store.batches import BatchStore
from tests.support.outboxes import make_outbox

# Far more than a machine with too much to do takes for one event; a wake-up that is lost takes for ever.
PATIENCE_SECONDS = 20.0


class SleepingRelay:
    """A thread that reads an outbox and sleeps while nothing is there, as the relay's does."""

    def __init__(self, outbox: Outbox) -> None:
        # The store is never asked, and no connection is made.
        store = BatchStore(RedisPool("redis://127.0.0.1:1/0", timeout_seconds=0.1))
        self.outbox = RelayedOutbox(Reader(outbox.directory), store)
        self.sleeper = Sleeper()
        self.sleeps = 0
        self.events = 0
        self._is_stopped = False
        outbox.wake_by(self.sleeper.wake)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._is_stopped:
            payloads, ends = self.outbox.reader.read()
            if payloads:
                self.outbox.wake_up()
                self.events += len(payloads)
                self.outbox.reader.commit(ends[-1])
            elif self.outbox.fall_asleep(THREAD_SLEEPS):
                self.sleeps += 1
                self.sleeper.sleep(10 * PATIENCE_SECONDS)

    def stop(self) -> None:
        self._is_stopped = True
        self.sleeper.wake()
        self._thread.join()
        self.outbox.reader.close()
        self.sleeper.close()


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    made = make_outbox(tmp_path)
    yield made
    made.close()


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def append_one_by_one(outbox: Outbox, count: int, failures: list[str]) -> None:
    """Append an event, wait until it was read, and so on: each may be the one that nobody wakes the relay for."""
    chance = random.Random(threading.get_ident())
    for n in range(count):
        until = time.perf_counter() + chance.uniform(0, 0.0002)
        while time.perf_counter() < until:
            pass
        outbox.append(b"event %d" % n)
        position, deadline = outbox.position, time.monotonic() + PATIENCE_SECONDS
        while not outbox.has_relayed(position):
            if time.monotonic() > deadline:
                failures.append(f"event {n} is left lying")
                return
            time.sleep(chance.choice((0, 0, 1e-6, 1e-4)))


@pytest.mark.usefixtures("hasty_threads")
@pytest.mark.parametrize("count", [1, 3])
def test_no_wake_is_lost_however_threads_interleave(outbox: Outbox, count: int) -> None:
    relay, failures = SleepingRelay(outbox), list[str]()
    # Where there are several, one may wake the relay for another; where there is one, nobody does.
    writers = [threading.Thread(target=append_one_by_one, args=(outbox, 2000, failures)) for _ in range(count)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    relay.stop()
    assert failures == []
    assert relay.events == count * 2000
    assert relay.sleeps > 10


def test_no_wake_is_lost_that_a_signal_handler_sends_from_the_middle_of_append(outbox: Outbox) -> None:
    relay, failures = SleepingRelay(outbox), list[str]()
    handled: list[int] = []

    def emit(*_: object) -> None:
        outbox.append(b"from the handler")
        handled.append(outbox.position)

    before = signal.signal(signal.SIGALRM, emit)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        append_one_by_one(outbox, 400, failures)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not outbox.has_relayed(outbox.position) and time.monotonic() < deadline:
        time.sleep(0.01)
    relay.stop()
    assert failures == []
    assert relay.events == 400 + len(handled)
    assert handled


def test_one_event_wakes_the_relay_and_the_next_ones_find_it_awake(outbox: Outbox) -> None:
    wakes: list[None] = []
    outbox.wake_by(lambda: wakes.append(None))
    reader = Reader(outbox.directory)
    outbox.append(b"awake")
    assert wakes == []
    reader.state.sleeping = THREAD_SLEEPS
    for _ in range(5):
        outbox.append(b"asleep")
    assert len(wakes) == 1
    assert reader.state.sleeping == AWAKE
    reader.close()


def test_a_child_that_is_forked_without_hooks_wakes_nobody(outbox: Outbox) -> None:
    wakes: list[None] = []
    outbox.wake_by(lambda: wakes.append(None))
    reader = Reader(outbox.directory)
    reader.state.sleeping = PROCESS_SLEEPS
    pid = os.fork()
    if pid == 0:
        outbox.abandon()
        os._exit(len(wakes))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert reader.state.sleeping == PROCESS_SLEEPS
    reader.close()


def test_what_a_killed_relay_left_is_taken_back(outbox: Outbox) -> None:
    reader = Reader(outbox.directory)
    reader.state.sleeping = PROCESS_SLEEPS
    reader.close()
    outbox.append(b"nobody listens")
    relay = SleepingRelay(outbox)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while relay.events == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    relay.stop()
    assert relay.events == 1
