"""Idle: how long a call takes while the relay is idle, in bursts with empty queues in between."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Any

from tests.benchmarks.emitters import CALLS, open_emitter
from tests.benchmarks.pacing import unpaced, warm_up
from tests.benchmarks.place import Place
from tests.benchmarks.quantiles import quantiles
from tests.benchmarks.sample import data
from tests.benchmarks.servers import RedisServer
from tests.benchmarks.step import Plan, Result, Step


def steps(plan: Plan) -> Iterator[Step]:
    """One for each emitter."""
    arguments: dict[str, Any] = {
        "bursts": plan.idle_bursts,
        "events": plan.idle_burst_events,
        "seconds": plan.idle_seconds,
    }
    for name in CALLS:
        yield Step(
            measurement="idle",
            subject=name,
            case="one after another",
            measure=measure,
            arguments={"emitter": name, **arguments},
        )
    # A null makes emit check whether it comes from None or from a NaN, which JSON cannot express.
    yield Step(
        measurement="idle",
        subject="ours",
        case="data with a null",
        measure=measure,
        arguments={"emitter": "ours", "null": True, **arguments},
    )


def measure(place: Place, *, emitter: str, bursts: int, events: int, seconds: float, null: bool = False) -> Result:
    """Quantiles over ``bursts`` of ``events`` calls, or as many as fit into ``seconds`` altogether."""
    with RedisServer(place), open_emitter(emitter, place) as opened:
        warm_up(opened, events=min(events, 1000))
        times = array("q")
        events_data = data(empty=None if null else "")
        for _ in range(bursts):
            opened.settle()
            times.extend(unpaced(opened.emit, events_data, events=events, seconds=seconds / bursts))
        return quantiles(times) | {"dropped": opened.dropped()}
