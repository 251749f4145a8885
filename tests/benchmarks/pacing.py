"""Pacing: timed calls, one after another or at a rate."""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from tests.benchmarks.emitters import Emit, Emitter
from tests.benchmarks.sample import contexts, data

_clock = time.perf_counter_ns
_WARM_UP: Final = 200


def warm_up(emitter: Emitter, *, events: int = _WARM_UP) -> float:
    """Bind a context, and call until connections are open and caches filled. Returns a call's median in seconds."""
    emitter.bind(next(contexts()))
    times = unpaced(emitter.emit, data(), events=events, seconds=1.0)
    emitter.settle()
    return sorted(times)[len(times) // 2] / 1e9


def unpaced(emit: Emit, events_data: Iterator[dict[str, Any]], *, events: int, seconds: float) -> array[int]:
    """Nanoseconds of ``events`` calls in a row, or of as many as fit into ``seconds``."""
    times = array("q")
    deadline = _clock() + int(seconds * 1e9)
    for one in islice(events_data, events):
        before = _clock()
        emit(one)
        after = _clock()
        times.append(after - before)
        if after >= deadline:
            break
    return times


def paced(emit: Emit, *, rate: float, seconds: float) -> tuple[array[int], float]:
    """Nanoseconds of each call during ``seconds`` at ``rate`` a second, and the rate that was reached.

    It sleeps in between, like a web process that waits for clients. After a too long sleep it catches up at once, so
    high rates come in small bursts.
    """
    times = array("q")
    interval = 1e9 / rate
    events = int(rate * seconds)
    start = _clock()
    for number, one in enumerate(islice(data(), events)):
        ahead = start + number * interval - _clock()
        if ahead > 0:
            time.sleep(ahead / 1e9)
        before = _clock()
        emit(one)
        times.append(_clock() - before)
        if before - start > 2e9 * seconds:
            break
    return times, len(times) / max((_clock() - start) / 1e9, seconds)
