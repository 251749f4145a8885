"""Rest: what a site costs while nothing happens: CPU of each process, and the commands that Redis gets."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from statistics import fmean
from typing import Final

from tests.benchmarks.cpu import busy_seconds, descendants
from tests.benchmarks.crowd_processes import CrowdProcesses
from tests.benchmarks.place import Place
from tests.benchmarks.servers import RedisServer, SegmentSink
from tests.benchmarks.step import Plan, Result, Step
from tests.benchmarks.workers import RelayProcess, Workers

_RELAY_ALONE: Final = {"DISPATCHER_RELAY__MODE": "external"}
# Until everybody rests: lingers, first syncs and looks for what others have left behind.
_SETTLE_SECONDS: Final = 5.0
_WORKERS: Final = {"ours": "ours", "celery_delay": "prefork"}


def steps(plan: Plan) -> Iterator[Step]:
    """Ours by number of processes, with the relay in their threads and beside them; the peers with as many."""
    for count in plan.rest_processes:
        yield _step(plan, "ours", f"{_processes(count)}, a worker", count)
    most = max(plan.rest_processes)
    yield _step(plan, "ours", f"{_processes(1)}, a worker, a relay process", 1, relay=True)
    yield _step(plan, "ours", f"{_processes(most)}, a worker, a relay process", most, relay=True)
    for count in plan.rest_workers:
        yield _step(plan, "ours", f"{_processes(1)}, {count} workers", 1, workers=count)
    for count in plan.destinations:
        yield _step(plan, "ours", f"{_processes(1)}, a worker, {count} destinations", 1, destinations=count)
    yield _step(plan, "segment_analytics", _processes(1), 1, workers=0)
    yield _step(plan, "segment_analytics", _processes(most), most, workers=0)
    yield _step(plan, "celery_delay", f"{_processes(1)}, a worker", 1)


def _processes(count: int) -> str:
    return f"{count} process{'es' if count > 1 else ''}"


def _step(
    plan: Plan,
    emitter: str,
    case: str,
    processes: int,
    *,
    workers: int = 1,
    relay: bool = False,
    destinations: int = 2,
) -> Step:
    return Step(
        measurement="rest",
        subject=emitter,
        case=case,
        measure=measure,
        arguments={
            "emitter": emitter,
            "processes": processes,
            "workers": workers,
            "relay": relay,
            "seconds": plan.rest_seconds,
        },
        environ=several_destinations(destinations) | (_RELAY_ALONE if relay else {}),
        timeout_seconds=plan.rest_seconds + 240.0,
    )


def several_destinations(count: int) -> dict[str, str]:
    """Variables for the tracking log, Segment, and webhooks up to ``count``: a site's destinations and queues."""
    environ = {
        "DISPATCHER_DESTINATIONS__SEGMENT__ENABLED": "true",
        "DISPATCHER_DESTINATIONS__SEGMENT__WRITE_KEY": "bench",
    }
    for number in range(count - 2):
        table = f"DISPATCHER_DESTINATIONS__HOOK{number}"
        environ |= {f"{table}__TYPE": "webhook", f"{table}__URL": "http://127.0.0.1:9/"}
    return environ


def measure(place: Place, *, emitter: str, processes: int, workers: int, relay: bool, seconds: float) -> Result:
    """Milliseconds of CPU a second of an emitting process, the workers, the relay, Redis; commands a second of Redis.

    Each process has emitted an event before. A worker's processes are all that ``dispatcher worker`` has started.
    """
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer(place))
        sink = stack.enter_context(SegmentSink())
        place.use_segment(sink.url)
        served = Workers(_WORKERS[emitter], workers) if workers else None
        if served is not None:
            stack.enter_context(served)
        beside = stack.enter_context(RelayProcess()) if relay else None
        crowd = stack.enter_context(CrowdProcesses(emitter, place, processes))
        time.sleep(_SETTLE_SECONDS)
        groups = {
            "emitting": [[pid] for pid in crowd.pids],
            "worker": [descendants(pid) for pid in served.pids] if served is not None else [],
            "relay": [[beside.pid]] if beside is not None else [],
            "redis": [[redis.pid]],
        }
        before, commands = {name: _seconds(group) for name, group in groups.items()}, redis.commands()
        time.sleep(seconds)
        after, later = {name: _seconds(group) for name, group in groups.items()}, redis.commands()
        result: Result = {
            f"{name}_ms_s": round(fmean(map(float.__sub__, after[name], before[name])) / seconds * 1000, 2)
            for name, group in groups.items()
            if group
        }
        by_command = {name: round((count - commands.get(name, 0)) / seconds, 2) for name, count in later.items()}
        by_command = {name: rate for name, rate in by_command.items() if rate}
        return result | {"redis_commands_s": round(sum(by_command.values()), 1), "by_command": by_command}


def _seconds(group: list[list[int]]) -> list[float]:
    return [sum(map(busy_seconds, pids)) for pids in group]
