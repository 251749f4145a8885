"""Latency: from the call until the event's line is in the file, at light load."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from typing import Final

from tests.benchmarks.emitters import open_emitter
from tests.benchmarks.end_to_end import emit_all
from tests.benchmarks.place import Place
from tests.benchmarks.quantiles import quantiles
from tests.benchmarks.sample import data
from tests.benchmarks.servers import RedisServer
from tests.benchmarks.step import Plan, Result, Step
from tests.benchmarks.tail import Tail, sequence_of
from tests.benchmarks.workers import Workers

_WARM_UP: Final = 20
# Seconds between two reads of the file: the precision of the result.
_LOOK_SECONDS: Final = 0.0005
_PATIENCE_SECONDS: Final = 15.0


def steps(plan: Plan) -> Iterator[Step]:
    """Ours, and one task for each event."""
    for subject, kind in (("ours", "ours"), ("celery_delay", "prefork")):
        yield Step(
            measurement="latency",
            subject=subject,
            case=f"{plan.latency_rate:g}/s, 1 worker",
            measure=measure,
            arguments={"emitter": subject, "kind": kind, "rate": plan.latency_rate, "events": plan.latency_events},
        )


def measure(place: Place, *, emitter: str, kind: str, rate: float, events: int) -> Result:
    """Quantiles of the time from call to line."""
    with RedisServer(place), Workers(kind, 1), open_emitter(emitter, place) as opened:
        tail = Tail(place.log)
        emit_all(opened, first=0, events=_WARM_UP)
        tail.wait_for(_WARM_UP, timeout_seconds=_PATIENCE_SECONDS)
        called: dict[int, int] = {}
        seen: dict[int, int] = {}

        def look_until(deadline: float) -> None:
            while time.monotonic() < deadline and len(seen) < events:
                for line in tail.lines():
                    seen[sequence_of(line)] = time.perf_counter_ns()
                time.sleep(_LOOK_SECONDS)

        start = time.monotonic()
        for number, one in enumerate(islice(data(first=_WARM_UP), events)):
            look_until(start + number / rate)
            called[one["sequence"]] = time.perf_counter_ns()
            opened.emit(one)
        look_until(time.monotonic() + _PATIENCE_SECONDS)
        times = [seen[sequence] - at for sequence, at in called.items() if sequence in seen]
        return quantiles(times) | {"missing": events - len(times)}
