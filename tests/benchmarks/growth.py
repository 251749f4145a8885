"""Growth: how the cost of an event grows with processes, destinations, waiting events and the size of events."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, Final

from tests.benchmarks import crowd
from tests.benchmarks.cpu import cpu_seconds
from tests.benchmarks.emitters import Emitter, open_emitter
from tests.benchmarks.end_to_end import emit_all
from tests.benchmarks.place import Place
from tests.benchmarks.quantiles import quantiles
from tests.benchmarks.sample import contexts, data
from tests.benchmarks.servers import RedisServer
from tests.benchmarks.step import Plan, Result, Step
from tests.benchmarks.tail import Tail
from tests.benchmarks.workers import Workers

_WARM_UP: Final = 50
_PATIENCE_SECONDS: Final = 120.0
# Bytes of the data besides the text that fills it, and of the rest of an event without a context.
_FRAME_BYTES: Final = 190
_KILOBYTE: Final = 1_000
# Events that are put, and then claimed, at each depth of the queue to see what one costs there.
_SAMPLE_EVENTS: Final = 20_000
# Bytes that an event takes that waits: in Redis' memory, and in its file, which may be on a tmpfs.
_MEMORY_PER_EVENT: Final = 400


def by_processes(plan: Plan) -> Iterator[Step]:
    """The crowd's question for other numbers of processes, each as quiet as those."""
    for count in plan.growth_processes:
        yield crowd.step(
            "by_processes",
            "ours",
            f"{count} processes, {5 * count}/s" if count > 1 else "1 process, 5/s",
            processes=count,
            rate=5 * count,
            seconds=plan.crowd_seconds / 2,
            latency_seconds=plan.crowd_latency_seconds,
        )


def by_destinations(plan: Plan) -> Iterator[Step]:
    """To several tracking logs, the cheapest destination: what is left is the road itself."""
    for count in (1, *plan.growth_destinations):
        environ = {}
        for number in range(1, count):
            table = f"DISPATCHER_DESTINATIONS__LOG{number}"
            environ |= {f"{table}__TYPE": "tracking_log", f"{table}__EVENTS": '["*"]'}
        yield Step(
            measurement="by_destinations",
            subject="ours",
            case=f"{count} destination{'s' if count > 1 else ''}",
            measure=measure_destinations,
            arguments={"destinations": count, "events": plan.growth_events // count},
            environ=environ,
            timeout_seconds=300.0,
        )


def measure_destinations(place: Place, *, destinations: int, events: int) -> Result:
    """Events a second until each log has them, CPU for an event and for a delivery; one worker."""
    logs = [place.log, *(place.directory / f"log{number}.log" for number in range(1, destinations))]
    with ExitStack() as stack:
        place.use_logs(logs[1:])
        stack.enter_context(RedisServer(place))
        stack.enter_context(Workers("ours", 1))
        opened = stack.enter_context(open_emitter("ours", place))
        tails = [Tail(log) for log in logs]
        emit_all(opened, first=0, events=_WARM_UP)
        _wait(tails, _WARM_UP)
        start, cpu = time.perf_counter(), cpu_seconds()
        emit_all(opened, first=_WARM_UP, events=events)
        there = _wait(tails, events)
        seconds, cpu = time.perf_counter() - start, cpu_seconds() - cpu
        return {
            "events_per_second": round(events / seconds),
            "deliveries_per_second": round(there / seconds),
            "cpu_us_per_event": round(cpu / events * 1e6, 1),
            "cpu_us_per_delivery": round(cpu / there * 1e6, 1),
            "late": events * destinations - there,
        }


def by_waiting(plan: Plan) -> Iterator[Step]:
    """One queue that gets longer and longer."""
    yield from (
        Step(
            measurement="by_waiting",
            subject="ours",
            case=f"{depth:,} events wait",
            measure=measure_waiting,
            arguments={"depth": depth},
            timeout_seconds=300.0,
        )
        for depth in plan.growth_waiting
    )


def measure_waiting(place: Place, *, depth: int) -> Result:
    """What Redis holds for each event, and how long its scripts take for a put, and for a claim and a settlement."""
    needed, free = depth * _MEMORY_PER_EVENT >> 20, _free_mebibytes()
    if free < needed:
        return {"note": f"not measured: it needs {needed:,} MiB of memory, and {free:,} are free"}
    with RedisServer(place) as redis, open_emitter("ours", place) as opened:
        emit_all(opened, first=0, events=_WARM_UP)
        opened.settle()
        empty = redis.used_bytes
        _emit_with_pauses(opened, depth)
        held = redis.used_bytes - empty
        before = redis.script_times()
        start = time.perf_counter()
        _emit_with_pauses(opened, _SAMPLE_EVENTS)
        put_seconds = time.perf_counter() - start
        between = redis.script_times()
        taken: list[float] = []
        # From the first line on, which is there before the worker answers that it is.
        watch = threading.Thread(target=_watch, args=(Tail(place.log), taken), daemon=True)
        watch.start()
        with Workers("ours", 1):
            watch.join(_PATIENCE_SECONDS)
            after = redis.script_times()
        return {
            "redis_mib": round(held / (1 << 20), 1),
            "bytes_per_event": round(held / depth),
            "put_events_per_second": round(_SAMPLE_EVENTS / put_seconds),
            "put_script_us": _mean(before, between),
            "taken_events_per_second": round(taken[0]),
            "worker_script_us": _mean(between, after),
            "dropped": opened.dropped(),
        }


def by_size(plan: Plan) -> Iterator[Step]:
    """From emit to the line, by the size of an event."""
    for kilobytes in plan.growth_kilobytes:
        size = int(kilobytes * _KILOBYTE)
        yield Step(
            measurement="by_size",
            subject="ours",
            case=f"{kilobytes:g} KB",
            measure=measure_size,
            arguments={"size": size, "events": max(200, min(plan.growth_events, plan.growth_bytes // size))},
            timeout_seconds=300.0,
        )


def measure_size(place: Place, *, size: int, events: int) -> Result:
    """A call's time, events and megabytes a second until the line, CPU for an event and for a kilobyte."""
    texts = _texts(max(size - _FRAME_BYTES, 1))
    made = [{"sequence": number, "text": next(texts)} for number in range(events + _WARM_UP)]
    with RedisServer(place) as redis, Workers("ours", 1), open_emitter("ours", place) as opened:
        opened.bind({})
        tail = Tail(place.log)
        _timed(opened, made[:_WARM_UP])
        tail.wait_for(_WARM_UP, timeout_seconds=_PATIENCE_SECONDS)
        written = place.log.stat().st_size
        start, cpu = time.perf_counter(), cpu_seconds()
        times = _timed(opened, made[_WARM_UP:])
        there = tail.wait_for(events, timeout_seconds=_PATIENCE_SECONDS)
        seconds, cpu = time.perf_counter() - start, cpu_seconds() - cpu
        line_bytes = (place.log.stat().st_size - written) / max(there, 1)
        return {
            "emit_p50_us": quantiles(times)["p50_us"],
            "events_per_second": round(there / seconds),
            "mb_per_second": round(there * size / seconds / 1e6, 1),
            "cpu_us_per_event": round(cpu / events * 1e6, 1),
            "cpu_us_per_kb": round(cpu / events / size * _KILOBYTE * 1e6, 2),
            "line_bytes": round(line_bytes),
            "redis_peak_mib": round(redis.peak_bytes / (1 << 20), 1),
            "late": events - there,
        }


def _wait(tails: Sequence[Tail], lines: int) -> int:
    return sum(tail.wait_for(lines, timeout_seconds=_PATIENCE_SECONDS) for tail in tails)


def _free_mebibytes() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")) >> 10


def _watch(tail: Tail, taken: list[float]) -> None:
    found = tail.wait_for(1, timeout_seconds=_PATIENCE_SECONDS, look_seconds=0.001)
    start = time.perf_counter()
    found = tail.wait_for(_SAMPLE_EVENTS - found, timeout_seconds=_PATIENCE_SECONDS, look_seconds=0.001)
    taken.append(found / (time.perf_counter() - start))


def _emit_with_pauses(emitter: Emitter, events: int, *, step: int = 100_000) -> None:
    """Emit as fast as possible, but for waiting until Redis has them: the outbox need not hold all."""
    for first in range(0, events, step):
        emit_all(emitter, first=first, events=min(step, events - first))
        emitter.settle()


def _timed(emitter: Emitter, made: Sequence[dict[str, Any]]) -> list[int]:
    times = []
    for one in made:
        before = time.perf_counter_ns()
        emitter.emit(one)
        times.append(time.perf_counter_ns() - before)
    return times


def _texts(length: int) -> Iterator[str]:
    """Texts of this length in a row without end, which compress as events do."""
    pool = json.dumps([*islice(contexts(), 2_000), *islice(data(), 2_000)]).replace('"', "'")
    random = Random(3)
    while True:
        start = random.randrange(len(pool) - length)
        yield pool[start : start + length]


def _mean(before: tuple[int, int], after: tuple[int, int]) -> float:
    calls, microseconds = (now - then for now, then in zip(after, before, strict=True))
    return round(microseconds / max(calls, 1), 1)
