"""A long outage: half a million events wait for a sink that is down, and the log does not notice."""

from __future__ import annotations

import threading
from contextlib import suppress

from tests.faults.case import Cases
from tests.faults.expectation import Expectation
from tests.faults.stage import Stage
from tests.support.processes import memory_bytes

outage = Cases()

_EVENTS = 500_000
_MIB = 1 << 20
# By how much the worker's memory may grow while everything waits.
_GROWTH_MIB = 50
# Events a second of all threads together: the events of ten minutes in about three.
_RATE = 3000
# How long the sink is up first, for comparison; less if fewer events are asked for.
_NORMAL_SECONDS = 15.0
_THREADS = 4
# Seconds until the first events have arrived and the sink is down.
_START_SECONDS = 3.0


@outage.add(
    "the sink is down for 500,000 events: memory of the worker and latency of the log, then all of it arrives",
    Expectation(patience_seconds=600),
    is_long=True,
    is_alone=True,
)
def outage_500k(stage: Stage) -> None:
    # As in production, so that batches have the usual size.
    stage.environ["DISPATCHER_RELAY__LINGER_SECONDS"] = "0.05"
    worker = stage.workers.start()
    latency = stage.follow_log()
    events = stage.events or _EVENTS
    normal_seconds = min(_NORMAL_SECONDS, 0.3 * events / _RATE)
    count = events + int((normal_seconds + _START_SECONDS) * _RATE)
    stage.load(2, "--count", str(count // _THREADS), rate=_RATE / _THREADS)
    latency.begin("sink up")
    stage.during("the sink is up", normal_seconds)
    celery = stage.workers.celery_pid(worker)
    before = memory_bytes(celery)
    memory = _Memory(celery)
    stage.sink.close()
    latency.begin("")
    stage.during("the sink has just gone down", 1)
    latency.begin("sink down")
    with memory:
        stage.go_on_until_emitted("the sink is down")
        latency.begin("")
        waiting = stage.site.counts("segment").waiting
        down = (memory.most - before) / _MIB
        stage.sink.start()
        stage.wait_until_arrived("all of it arrives")
    grown = (memory.most - before) / _MIB
    normal, p99 = latency.quantile("sink up", 0.99), latency.quantile("sink down", 0.99)
    stage.notes += [
        f"{waiting:,} waited",
        f"worker {before / _MIB:.0f} MiB, grew by {down:.1f} while they waited, by {grown:.1f} until all had arrived",
        f"log p50 / p99: {latency.story('sink up')}, {latency.story('sink down')}",
    ]
    if grown >= _GROWTH_MIB:
        stage.problems.append(f"the worker grew by {down:.0f} and then {grown:.0f} MiB, and may by {_GROWTH_MIB}")
    if p99 > 2 * normal:
        stage.problems.append(f"the log's p99 went from {normal:.0f} to {p99:.0f} ms, and may double")


class _Memory:
    """The highest memory use of a process, measured four times a second while it is entered."""

    def __init__(self, pid: int) -> None:
        self.most = 0
        self._pid = pid
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(0.25):
            with suppress(OSError, AssertionError):
                self.most = max(self.most, memory_bytes(self._pid))
