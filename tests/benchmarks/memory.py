"""Memory: by how much the emitting process grows while events wait for a Redis that refuses."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from tests.benchmarks.emitters import open_emitter
from tests.benchmarks.place import Place
from tests.benchmarks.sample import contexts, data
from tests.benchmarks.servers import RedisServer
from tests.benchmarks.step import Plan, Result, Step

_WARM_UP: Final = 2_000
# How often the memory is measured on the way.
_SAMPLES: Final = 20
_FIELD: Final = re.compile(r"^(\w+): +(\d+) kB$", re.MULTILINE)
_MIB: Final = 1024
# More than fit into segment-analytics-python's queue, which then drops events.
_SEGMENT_EVENTS: Final = 12_000


def steps(plan: Plan) -> Iterator[Step]:
    """Ours, and segment-analytics-python up to the end of its queue."""
    for subject, events in (("ours", plan.memory_events), ("segment_analytics", _SEGMENT_EVENTS)):
        yield Step(
            measurement="memory",
            subject=subject,
            case=f"{events:,} events, refusing",
            measure=measure,
            arguments={"emitter": subject, "events": events},
            timeout_seconds=300.0,
        )


def measure(place: Place, *, emitter: str, events: int) -> Result:
    """Growth in MiB since the warm-up, at its peak and at the end, as the kernel reports it, and dropped events."""
    with RedisServer(place) as server, open_emitter(emitter, place) as opened:
        requests = contexts()
        opened.bind(next(requests))
        events_data = data()
        for one in islice(events_data, _WARM_UP):
            opened.emit(one)
        opened.settle()
        server.kill()
        opened.refuse()
        before = _memory()
        dropped = opened.dropped()
        peak = before["Rss"]
        start = time.perf_counter()
        for _ in range(_SAMPLES):
            for one in islice(events_data, events // _SAMPLES):
                opened.emit(one)
            opened.bind(next(requests))
            peak = max(peak, _memory()["Rss"])
        seconds = time.perf_counter() - start
        after = _memory()
        waiting = events - (opened.dropped() - dropped)
        return {
            "rss_mib": _growth(before["Rss"], after["Rss"]),
            "largest_rss_mib": _growth(before["Rss"], peak),
            "pss_mib": _growth(before["Pss"], after["Pss"]),
            "anonymous_mib": _growth(before["Anonymous"], after["Anonymous"]),
            "bytes_per_event": round((after["Rss"] - before["Rss"]) * 1024 / max(waiting, 1)),
            "waiting": waiting,
            "dropped": events - waiting,
            "emitted_per_second": round(events / seconds),
        }


def _memory() -> dict[str, int]:
    text = Path("/proc/self/smaps_rollup").read_text()
    return {name: int(kilobytes) for name, kilobytes in _FIELD.findall(text)}


def _growth(before: int, after: int) -> float:
    return round((after - before) / _MIB, 1)
