"""Paced: how long a call takes at a steady rate, while the relay or the peer's own thread works beside it."""

from __future__ import annotations

from collections.abc import Iterator

from tests.benchmarks.emitters import CALLS, open_emitter
from tests.benchmarks.pacing import paced, warm_up
from tests.benchmarks.place import Place
from tests.benchmarks.quantiles import quantiles
from tests.benchmarks.servers import RedisServer
from tests.benchmarks.step import Plan, Result, Step

# A call must be able to reach this many times the rate, or it will not keep it.
_HEADROOM = 1.1


def steps(plan: Plan) -> Iterator[Step]:
    """Each emitter at each rate."""
    for rate in plan.rates:
        for name in CALLS:
            yield Step(
                measurement="paced",
                subject=name,
                case=f"{rate:,}/s",
                measure=measure,
                arguments={"emitter": name, "rate": rate, "seconds": plan.paced_seconds},
            )


def measure(place: Place, *, emitter: str, rate: int, seconds: float) -> Result:
    """Quantiles over ``seconds`` at ``rate``, or a note that the emitter cannot reach it."""
    with RedisServer(place), open_emitter(emitter, place) as opened:
        call_seconds = warm_up(opened)
        if rate * call_seconds * _HEADROOM > 1:
            return {"note": f"takes {call_seconds * 1e6:,.0f} µs a call: {1 / call_seconds:,.0f}/s at the most"}
        times, reached = paced(opened.emit, rate=rate, seconds=seconds)
        return quantiles(times) | {"events_per_second": round(reached), "dropped": opened.dropped()}
