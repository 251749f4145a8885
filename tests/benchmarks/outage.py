"""Outage: how long a call takes with Redis up, refusing connections, and stopped (SIGSTOP: it never answers)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Final

from tests.benchmarks.emitters import Emit, open_emitter
from tests.benchmarks.pacing import paced, warm_up
from tests.benchmarks.place import Place
from tests.benchmarks.quantiles import quantiles
from tests.benchmarks.sample import data
from tests.benchmarks.servers import RedisServer
from tests.benchmarks.step import Plan, Result, Step

STATES: Final = ("up", "refusing", "stopped")
# Calls of delay() while Redis is up, when none of them has to wait.
_CALLS_UP: Final = 300


def steps(plan: Plan) -> Iterator[Step]:
    """Ours and delay() in each state."""
    for state in STATES:
        yield Step(
            measurement="outage",
            subject="ours",
            case=state,
            measure=measure_paced,
            arguments={"state": state, "rate": plan.outage_rate, "seconds": plan.outage_seconds},
        )
        calls = _CALLS_UP if state == "up" else plan.outage_calls
        yield Step(
            measurement="outage",
            subject="celery_delay",
            case=state,
            measure=measure_calls,
            arguments={"state": state, "calls": calls, "patience_seconds": plan.outage_patience_seconds},
        )


def measure_paced(place: Place, *, state: str, rate: int, seconds: float) -> Result:
    """Ours at a rate, once Redis is in that state."""
    with RedisServer(place) as server, open_emitter("ours", place) as opened:
        warm_up(opened)
        _bring(server, state)
        times, reached = paced(opened.emit, rate=rate, seconds=seconds)
        if state == "stopped":
            server.resume()
        return quantiles(times) | {"events_per_second": round(reached), "dropped": opened.dropped()}


def measure_calls(place: Place, *, state: str, calls: int, patience_seconds: float) -> Result:
    """A few calls of delay(), for at most ``patience_seconds``."""
    with RedisServer(place) as server, open_emitter("celery_delay", place) as opened:
        warm_up(opened)
        _bring(server, state)
        times: list[int] = []
        failures: list[str] = []
        thread = threading.Thread(target=_call, args=(opened.emit, calls, times, failures), daemon=True)
        thread.start()
        thread.join(patience_seconds)
        result: Result = quantiles(times) if times else {}
        if thread.is_alive():
            result |= {"note": f"a call was still waiting after {patience_seconds:g} s"}
        elif failures:
            result |= {"note": f"{len(failures)} of {calls} calls raised {failures[0]}"}
        return result


def _call(emit: Emit, calls: int, times: list[int], failures: list[str]) -> None:
    for one, _ in zip(data(), range(calls), strict=False):
        before = time.perf_counter_ns()
        try:
            emit(one)
        except Exception as error:
            failures.append(type(error).__name__)
        times.append(time.perf_counter_ns() - before)


def _bring(server: RedisServer, state: str) -> None:
    if state == "refusing":
        server.kill()
    elif state == "stopped":
        server.suspend()
