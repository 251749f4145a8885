"""Measurements: all rows by name, with what they are called in tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from tests.benchmarks import (
    board,
    collector,
    crowd,
    deliver,
    end_to_end,
    export,
    growth,
    idle,
    latency,
    live,
    memory,
    outage,
    paced,
    redis_bytes,
    request,
    rest,
    segment,
)
from tests.benchmarks.step import Plan, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One table.

    Args:
        heading: The title of the table.
        steps: What is measured in one round.
        compared: The metric of the column "times ours".
        rounds: The attribute of the plan that says how many rounds there are.
    """

    heading: str
    steps: Callable[[Plan], Iterator[Step]]
    compared: str
    rounds: str = "long_rounds"


MEASUREMENTS: Final = {
    "idle": Measurement(
        heading="A call, one after another, with the relay at rest",
        steps=idle.steps,
        compared="p50_us",
        rounds="rounds",
    ),
    "paced": Measurement(
        heading="A call at a steady rate, with the relay thread at work",
        steps=paced.steps,
        compared="p50_us",
        rounds="rounds",
    ),
    "request": Measurement(
        heading="A request with middleware, context and one emit, and without, called in process",
        steps=request.steps,
        compared="added_us",
        rounds="rounds",
    ),
    "outage": Measurement(
        heading="A call with Redis up, refusing and stopped (ours at 5,000/s)",
        steps=outage.steps,
        compared="p50_us",
    ),
    "end_to_end": Measurement(
        heading="From emit to the line in the log, all processes on this machine",
        steps=end_to_end.steps,
        compared="events_per_second",
    ),
    "latency": Measurement(
        heading="From the call to the line in the log, at light load",
        steps=latency.steps,
        compared="p50_us",
    ),
    "memory": Measurement(
        heading="Growth of the emitting process while events wait",
        steps=memory.steps,
        compared="bytes_per_event",
    ),
    "redis_bytes": Measurement(
        heading="Redis memory for an event that waits",
        steps=redis_bytes.steps,
        compared="bytes_per_event",
    ),
    "segment": Measurement(
        heading="From emit to Segment alone, all processes on this machine, the stand-in's CPU left out",
        steps=segment.steps,
        compared="events_per_second",
    ),
    "deliver": Measurement(
        heading="Delivering batches alone, in one thread of a worker, the stand-in's CPU left out",
        steps=deliver.steps,
        compared="cpu_us_per_event",
    ),
    "collector": Measurement(
        heading="Events over HTTP, from a client on this machine; p50 and p99 at 70 % of the requests a second",
        steps=collector.steps,
        compared="cpu_us_per_request",
    ),
    "board": Measurement(
        heading="The board, with a viewer: its CPU, and how old what the page shows is",
        steps=board.steps,
        compared="cpu_ms_s",
        rounds="site_rounds",
    ),
    "live": Measurement(
        heading="The board's live page with one viewer: from an event's time to its row, and the board's CPU",
        steps=live.steps,
        compared="p50_ms",
    ),
    "crowd": Measurement(
        heading="Many processes, a Segment that answers in 200 ms, 16 places",
        steps=crowd.steps,
        compared="messages_per_request",
        rounds="site_rounds",
    ),
    "rest": Measurement(
        heading="At rest: CPU of each process in ms a second, and commands that Redis gets",
        steps=rest.steps,
        compared="emitting_ms_s",
        rounds="site_rounds",
    ),
    "export": Measurement(
        heading="Reading a tracking log into Parquet files; event-routing-backends only reads",
        steps=export.steps,
        compared="lines_per_cpu_second",
        rounds="site_rounds",
    ),
    "by_processes": Measurement(
        heading="Growth with the number of processes at 5 events/s each, Segment answering in 200 ms, 16 places",
        steps=growth.by_processes,
        compared="requests_per_1000",
        rounds="site_rounds",
    ),
    "by_destinations": Measurement(
        heading="Growth with the number of destinations, each a tracking log, 1 worker",
        steps=growth.by_destinations,
        compared="cpu_us_per_event",
        rounds="site_rounds",
    ),
    "by_size": Measurement(
        heading="Growth with the size of an event, from emit to the line, 1 worker",
        steps=growth.by_size,
        compared="cpu_us_per_event",
        rounds="site_rounds",
    ),
    "by_waiting": Measurement(
        heading="Growth with the number of events that wait in Redis",
        steps=growth.by_waiting,
        compared="bytes_per_event",
        rounds="site_rounds",
    ),
}

#: Several rows by one name.
GROUPS: Final = {
    "emit": ("idle", "paced"),
    "growth": ("by_processes", "by_destinations", "by_waiting", "by_size"),
}
