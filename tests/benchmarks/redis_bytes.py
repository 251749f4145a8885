"""Redis bytes: the memory of an event in Redis while it waits for a worker, as Redis reports it."""

from __future__ import annotations

from collections.abc import Iterator

from tests.benchmarks.emitters import open_emitter
from tests.benchmarks.end_to_end import emit_all
from tests.benchmarks.place import Place
from tests.benchmarks.servers import RedisServer
from tests.benchmarks.step import Plan, Result, Step

# Enough that all keys and connections exist.
_WARM_UP = 1_000


def steps(plan: Plan) -> Iterator[Step]:
    """Ours, and the two peers that send a message for each event."""
    for subject, events in (
        ("ours", plan.redis_events),
        ("celery_delay", plan.redis_tasks),
        ("event_tracking_async", plan.redis_tasks),
    ):
        yield Step(
            measurement="redis_bytes",
            subject=subject,
            case=f"{events:,} events waiting",
            measure=measure,
            arguments={"emitter": subject, "events": events},
        )


def measure(place: Place, *, emitter: str, events: int) -> Result:
    """Bytes by which used_memory grows for each event, with one event in a request."""
    with RedisServer(place) as server, open_emitter(emitter, place) as opened:
        emit_all(opened, first=0, events=_WARM_UP)
        opened.settle()
        before = server.used_bytes
        emit_all(opened, first=_WARM_UP, events=events, a_request=1)
        opened.settle()
        return {"bytes_per_event": round((server.used_bytes - before) / events), "dropped": opened.dropped()}
