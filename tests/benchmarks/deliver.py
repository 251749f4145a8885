"""Deliver: what a destination alone takes to deliver batches: CPU of the worker's process, without the vendor's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final
from uuid import uuid4

from dispatcher.config import DestinationSettings
from dispatcher.destinations.base import Batch, Destination
from dispatcher.destinations.build import build
from dispatcher.event import Event, encode
from dispatcher.outcomes import DELIVERED
from tests.benchmarks.place import Place
from tests.benchmarks.sample import NAME, contexts, data
from tests.benchmarks.servers import SegmentSink
from tests.benchmarks.step import Plan, Result, Step

# Events of one request share its context, as in end_to_end.
_EVENTS_PER_REQUEST: Final = 4
_WARM_UP: Final = 2
#: The tables of destinations by case; ``URL`` stands for the sink.
TABLES: Final[dict[str, dict[str, Any]]] = {
    "Segment": {"type": "segment", "host": "URL", "write_key": "bench"},
    "Google Analytics": {
        "type": "google_analytics",
        "endpoint": "URL",
        "measurement_id": "G-1A2B3C4D5E",
        "api_secret": "bench",
    },
    "Meta": {"type": "meta_conversions", "host": "URL", "dataset_id": "1234567890123456", "access_token": "bench"},
    "webhook": {"type": "webhook", "url": "URL/events"},
    "webhook, batches": {"type": "webhook", "url": "URL/events", "batch": True},
}


def steps(plan: Plan) -> Iterator[Step]:
    """Each destination."""
    for case in TABLES:
        yield Step(
            measurement="deliver",
            subject="ours",
            case=case,
            measure=measure,
            arguments={"case": case, "events": plan.deliver_events},
        )


def measure(place: Place, *, case: str, events: int) -> Result:
    """Events a second, CPU for each, and requests for a thousand, with batches as large as the destination's."""
    with SegmentSink() as sink:
        table = {
            key: value.replace("URL", sink.url) if isinstance(value, str) else value
            for key, value in TABLES[case].items()
        }
        settings = DestinationSettings.model_validate(table)
        destination = build("bench", settings)
        assert isinstance(destination, Destination)
        batches = _batches(settings.batch_events, events)
        for batch in batches[:_WARM_UP]:
            _deliver(destination, batch)
        sink.forget()
        start, cpu = time.perf_counter(), time.process_time()
        for batch in batches[_WARM_UP:]:
            _deliver(destination, batch)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        found = sink.counts()
        delivered = sum(len(batch.payloads) for batch in batches[_WARM_UP:])
        return {
            "cpu_us_per_event": round(cpu / delivered * 1e6, 1),
            "events_per_second": round(delivered / seconds),
            "requests_per_1000": round(found["requests"] / delivered * 1000, 1),
            "sent_bytes_per_event": round(found["bytes"] / delivered),
        }


def _batches(size: int, events: int) -> list[Batch]:
    payloads = []
    requests = contexts()
    for number, one in enumerate(islice(data(), max(events, size) + _WARM_UP * size)):
        if number % _EVENTS_PER_REQUEST == 0:
            context = next(requests)
        payloads.append(
            encode(Event(id=str(uuid4()), name=NAME, timestamp=datetime.now(UTC), data=one, context=context))
        )
    return [
        Batch(destination="bench", id=f"bench-{first}", payloads=tuple(payloads[first : first + size]))
        for first in range(0, len(payloads), size)
    ]


def _deliver(destination: Destination[Any], batch: Batch) -> None:
    outcomes = destination.deliver(batch)
    if any(outcome != DELIVERED for outcome in outcomes):
        raise AssertionError(f"not delivered: {next(outcome for outcome in outcomes if outcome != DELIVERED)}")
