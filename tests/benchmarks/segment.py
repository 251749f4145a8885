"""Segment: from the call to Segment and nothing else, as fast as it goes, beside Segment's own package.

The package's process tracks and posts. Ours emits in one process and relays in a thread of it; workers post. The CPU of
the stand-in counts in neither.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Final

from tests.benchmarks.cpu import busy_seconds, cpu_seconds
from tests.benchmarks.crowd_processes import CrowdProcesses
from tests.benchmarks.place import UPLOAD_SIZE, Place
from tests.benchmarks.servers import RedisServer, SegmentSink
from tests.benchmarks.step import Plan, Result, Step
from tests.benchmarks.workers import Workers

_EVENTS_PER_REQUEST: Final = 4
_PATIENCE_SECONDS: Final = 120.0
#: Messages of a request of the package: its own default, and as many as ours has.
_UPLOAD_SIZES: Final = {"segment_analytics": ((100, ""), (400, ", 400 a request")), "ours": ((400, ""),)}
ONLY_SEGMENT: Final = {
    "DISPATCHER_DESTINATIONS__TRACKING_LOG__ENABLED": "false",
    "DISPATCHER_DESTINATIONS__SEGMENT__ENABLED": "true",
    "DISPATCHER_DESTINATIONS__SEGMENT__WRITE_KEY": "bench",
}


def steps(plan: Plan) -> Iterator[Step]:
    """Ours with each number of workers, the package in as many processes: with its defaults, without gzip as ours is
    here, and with requests as large as ours.
    """
    for count in plan.workers:
        for subject, workers, processes in (("ours", count, 1), ("segment_analytics", 0, count)):
            what, many = ("worker", "s") if workers else ("process", "es")
            for size, settings in _UPLOAD_SIZES[subject]:
                yield Step(
                    measurement="segment",
                    subject=subject,
                    case=f"{count} {what}{many if count > 1 else ''}{settings}",
                    measure=measure,
                    arguments={
                        "emitter": subject,
                        "workers": workers,
                        "processes": processes,
                        "events": plan.segment_events // processes,
                    },
                    environ=ONLY_SEGMENT | {UPLOAD_SIZE: str(size)},
                    timeout_seconds=120.0,
                )


def measure(place: Place, *, emitter: str, workers: int, processes: int, events: int) -> Result:
    """Events a second until all are at Segment, CPU of all processes for each, and requests for a thousand.

    Args:
        events: How many each of the emitting processes emits.
    """
    with ExitStack() as stack:
        stack.enter_context(RedisServer(place))
        sink = stack.enter_context(SegmentSink())
        place.use_segment(sink.url)
        if workers:
            stack.enter_context(Workers("ours", workers))
        crowd = stack.enter_context(CrowdProcesses(emitter, place, processes))
        # So that each worker has its connections.
        crowd.emit_all(100, a_request=_EVENTS_PER_REQUEST, timeout_seconds=_PATIENCE_SECONDS)
        sink.wait_for(101 * processes, timeout_seconds=_PATIENCE_SECONDS)
        sink.forget()
        start, cpu, stand_in = time.monotonic(), cpu_seconds(without=[sink.pid]), busy_seconds(sink.pid)
        emitted = crowd.emit_all(events, a_request=_EVENTS_PER_REQUEST, timeout_seconds=_PATIENCE_SECONDS)
        sink.wait_for_any(events * processes, timeout_seconds=_PATIENCE_SECONDS)
        seconds, cpu = time.monotonic() - start, cpu_seconds(without=[sink.pid]) - cpu
        stand_in = busy_seconds(sink.pid) - stand_in
        found = sink.counts()
        there = found["unique"]
        return {
            "events_per_second": round(there / seconds),
            "emitted_per_second": round(emitted["events"] / emitted["seconds"]),
            "cpu_us_per_event": round(cpu / there * 1e6, 1),
            "stand_in_us_per_event": round(stand_in / there * 1e6, 1),
            "requests_per_1000": round(found["requests"] / found["messages"] * 1000, 1),
            "sent_bytes_per_event": round(found["bytes"] / found["messages"]),
            "events": events * processes,
            "late": events * processes - there,
            "doubled": found["messages"] - found["unique"],
            "dropped": emitted["dropped"],
        }
