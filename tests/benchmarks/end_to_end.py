"""End to end: from the first emit until every event has its line, with emitter, relay, Redis and workers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice

from tests.benchmarks.cpu import cpu_seconds
from tests.benchmarks.emitters import Emitter, open_emitter
from tests.benchmarks.place import Place
from tests.benchmarks.sample import contexts, data
from tests.benchmarks.servers import RedisServer, SegmentSink
from tests.benchmarks.step import Plan, Result, Step
from tests.benchmarks.tail import Tail, account
from tests.benchmarks.workers import RelayProcess, Workers

# Events before the clock starts, so that the workers have their files and connections open.
_WARM_UP = 50
# Events of one request: a page of a course emits several.
_EVENTS_PER_REQUEST = 4
_PATIENCE_SECONDS = 60.0
_SEGMENT_ON = {
    "DISPATCHER_DESTINATIONS__SEGMENT__ENABLED": "true",
    "DISPATCHER_DESTINATIONS__SEGMENT__WRITE_KEY": "bench",
}
_RELAY_ALONE = {"DISPATCHER_RELAY__MODE": "external"}


def steps(plan: Plan) -> Iterator[Step]:
    """For each number of workers: ours, one task for each event, and ours with a relay process or with Segment."""
    for count in plan.workers:
        workers = f"{count} worker{'s' if count > 1 else ''}"
        yield _step("ours", workers, count, plan.end_to_end_events, kind="ours")
        yield _step("celery_delay", f"{workers}, prefork pool", count, plan.end_to_end_tasks, kind="prefork")
        yield _step("ours", f"{workers}, relay process", count, plan.end_to_end_events, kind="ours", relay=True)
        yield _step("celery_delay", f"{workers}, solo pool", count, plan.end_to_end_tasks, kind="solo")
        yield _step("ours", f"{workers}, with Segment", count, plan.end_to_end_events // 4, kind="ours", segment=True)


def _step(
    emitter: str, case: str, workers: int, events: int, *, kind: str, relay: bool = False, segment: bool = False
) -> Step:
    return Step(
        measurement="end_to_end",
        subject=emitter,
        case=case,
        measure=measure,
        arguments={
            "emitter": emitter,
            "kind": kind,
            "workers": workers,
            "events": events,
            "relay": relay,
            "segment": segment,
        },
        environ=(_SEGMENT_ON if segment else {}) | (_RELAY_ALONE if relay else {}),
        timeout_seconds=180.0,
    )


def measure(place: Place, *, emitter: str, kind: str, workers: int, events: int, relay: bool, segment: bool) -> Result:
    """Events per second, CPU of all processes for each event, and whether each event has its line once."""
    with ExitStack() as stack:
        stack.enter_context(RedisServer(place))
        sink = stack.enter_context(SegmentSink()) if segment else None
        environ = {"DISPATCHER_DESTINATIONS__SEGMENT__HOST": sink.url} if sink is not None else {}
        stack.enter_context(Workers(kind, workers, environ=environ))
        if relay:
            stack.enter_context(RelayProcess())
        opened = stack.enter_context(open_emitter(emitter, place))
        tail = Tail(place.log)
        emit_all(opened, first=0, events=_WARM_UP)
        tail.wait_for(_WARM_UP, timeout_seconds=_PATIENCE_SECONDS)
        start, cpu = time.perf_counter(), cpu_seconds()
        emit_all(opened, first=_WARM_UP, events=events)
        emitted = time.perf_counter()
        found = tail.wait_for(events, timeout_seconds=_PATIENCE_SECONDS)
        if sink is not None:
            sink.wait_for(_WARM_UP + events, timeout_seconds=_PATIENCE_SECONDS)
        seconds, cpu = time.perf_counter() - start, cpu_seconds() - cpu
        result: Result = {
            "events_per_second": round(found / seconds),
            "emitted_per_second": round(events / (emitted - start)),
            "cpu_us_per_event": round(cpu / events * 1e6, 1),
            "events": events,
            **account(place.log, first=_WARM_UP, events=events),
            "dropped": opened.dropped(),
        }
        if sink is not None:
            counts = sink.counts()
            result["segment_missing"] = _WARM_UP + events - counts["unique"]
            result["segment_doubled"] = counts["messages"] - counts["unique"]
        return result


def emit_all(emitter: Emitter, *, first: int, events: int, a_request: int = _EVENTS_PER_REQUEST) -> None:
    """Emit events as fast as possible, and change the context after each ``a_request`` of them."""
    requests = contexts()
    emit, bind = emitter.emit, emitter.bind
    for number, one in enumerate(islice(data(first=first), events)):
        if number % a_request == 0:
            bind(next(requests))
        emit(one)
