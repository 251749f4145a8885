"""Crowd: many quiet processes of a site, and a vendor that takes its time to answer.

What is compared is the road to Segment. Ours writes the tracking log as well, as a site does; the peers do not.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final

from tests.benchmarks.cpu import cpu_seconds
from tests.benchmarks.crowd_processes import CrowdProcesses
from tests.benchmarks.emitters import load
from tests.benchmarks.place import Place
from tests.benchmarks.servers import RedisServer, SegmentSink
from tests.benchmarks.step import Plan, Result, Step
from tests.benchmarks.workers import Workers

#: The kinds of workers of the subjects; None for the one that needs none.
WORKERS: Final[dict[str, str | None]] = {
    "ours": "ours",
    "segment_analytics": None,
    "celery_post": "threads",
    "event_tracking_segment": "event_tracking",
}
# Subjects that can emit this many events a second at all, from all processes of two cores.
_QUICK_ONES: Final = ("ours", "segment_analytics")
_QUICK_RATE: Final = 1_000
# What is not there by then is counted as late.
_PATIENCE_SECONDS: Final = 30.0


def steps(plan: Plan) -> Iterator[Step]:
    """Each subject at each rate of all processes together."""
    for rate in plan.crowd_rates:
        for subject in WORKERS if rate < _QUICK_RATE else _QUICK_ONES:
            yield step(
                "crowd",
                subject,
                f"{plan.crowd_processes} processes, {rate:,}/s",
                processes=plan.crowd_processes,
                rate=rate,
                seconds=plan.crowd_seconds,
                latency_seconds=plan.crowd_latency_seconds,
            )


def step(measurement: str, subject: str, case: str, *, seconds: float, **arguments: Any) -> Step:
    """A step of this measurement, or of another one that asks the same."""
    return Step(
        measurement=measurement,
        subject=subject,
        case=case,
        measure=measure,
        arguments={"emitter": subject, "seconds": seconds, **arguments},
        environ={
            "DISPATCHER_DESTINATIONS__SEGMENT__ENABLED": "true",
            "DISPATCHER_DESTINATIONS__SEGMENT__WRITE_KEY": "bench",
        },
        timeout_seconds=seconds * 4 + 300.0,
    )


def measure(
    place: Place, *, emitter: str, processes: int, rate: float, seconds: float, latency_seconds: float, places: int = 16
) -> Result:
    """How full requests are, how long messages wait for them, and when all are there.

    Args:
        rate: Events a second of all processes together.
        latency_seconds: How long Segment takes to answer.
        places: How many tasks the worker runs at a time.
    """
    with ExitStack() as stack:
        stack.enter_context(RedisServer(place))
        sink = stack.enter_context(SegmentSink(latency_seconds))
        place.use_segment(sink.url)
        # Before its worker is started, which would only say that it does not answer.
        load(emitter)
        kind = WORKERS[emitter]
        if kind is not None:
            stack.enter_context(Workers(kind, 1, places=places))
        crowd = stack.enter_context(CrowdProcesses(emitter, place, processes))
        sink.wait_for(processes, timeout_seconds=_PATIENCE_SECONDS)
        sink.forget()
        cpu = cpu_seconds(without=[sink.pid])
        emitted = crowd.emit(rate=rate / processes, seconds=seconds)
        ended = time.monotonic()
        events = int(emitted["events"] - emitted["dropped"])
        there = sink.wait_for(events, timeout_seconds=_PATIENCE_SECONDS)
        end_seconds = time.monotonic() - ended
        cpu = cpu_seconds(without=[sink.pid]) - cpu
        found = sink.waits()
        return {
            "messages_per_request": round(found["messages"] / found["requests"], 1),
            "requests_per_1000": round(found["requests"] / found["messages"] * 1000, 1),
            "wait_p50_s": round(found["waits"]["p50"], 3),
            "wait_p99_s": round(found["waits"]["p99"], 3),
            "longest_wait_s": round(found["waits"]["longest"], 2),
            "all_there_after_s": round(end_seconds, 2),
            "emitted_per_second": round(events / max(emitted["seconds"], seconds)),
            "cpu_us_per_event": round(cpu / there * 1e6),
            "late": events - there,
            "doubled": found["messages"] - found["unique"],
            "dropped": emitted["dropped"],
            "longest_wait_by_second": found["by_second"],
        }
