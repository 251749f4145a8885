"""Step: one measurement of one subject in one case. Plan: the size of every measurement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Result = dict[str, Any]
Measure = Callable[..., Result]


@dataclass(frozen=True, kw_only=True)
class Step:
    """What one child process does.

    Args:
        measurement: The table of its result.
        subject: What is measured.
        case: The conditions.
        measure: Called in the child process, with its place and the arguments.
        environ: Additional variables for the child and all that it starts.
    """

    measurement: str
    subject: str
    case: str
    measure: Measure
    arguments: dict[str, Any] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)
    timeout_seconds: float = 120.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How often and how long. The defaults are those of the full run, which takes some forty minutes."""

    rounds: int = 5
    #: Rounds of measurements that take long and vary little.
    long_rounds: int = 3
    #: Rounds of whole sites, which take longest.
    site_rounds: int = 1
    idle_bursts: int = 10
    idle_burst_events: int = 2_000
    idle_seconds: float = 1.0
    request_pairs: int = 100
    rates: tuple[int, ...] = (500, 5_000, 50_000)
    paced_seconds: float = 2.0
    outage_rate: int = 5_000
    outage_seconds: float = 2.0
    outage_calls: int = 5
    outage_patience_seconds: float = 5.0
    end_to_end_events: int = 200_000
    end_to_end_tasks: int = 4_000
    workers: tuple[int, ...] = (1, 2)
    latency_events: int = 200
    latency_rate: float = 20.0
    memory_events: int = 1_000_000
    redis_events: int = 200_000
    redis_tasks: int = 5_000
    segment_events: int = 60_000
    deliver_events: int = 10_000
    collector_seconds: float = 2.0
    board_seconds: float = 30.0
    live_rates: tuple[int, ...] = (100, 1_000)
    live_seconds: float = 20.0
    crowd_processes: int = 40
    crowd_rates: tuple[int, ...] = (200, 5_000)
    crowd_seconds: float = 10.0
    crowd_latency_seconds: float = 0.2
    rest_processes: tuple[int, ...] = (1, 8, 40, 100)
    rest_workers: tuple[int, ...] = (2, 8)
    rest_seconds: float = 5.0
    destinations: tuple[int, ...] = (10, 20)
    growth_processes: tuple[int, ...] = (1, 10, 40, 100)
    growth_destinations: tuple[int, ...] = (2, 10, 20)
    growth_waiting: tuple[int, ...] = (100_000, 1_000_000, 5_000_000)
    growth_kilobytes: tuple[float, ...] = (0.2, 1, 10, 100)
    growth_events: int = 100_000
    growth_bytes: int = 100_000_000
    export_lines: int = 300_000


#: Only checks that everything runs: its numbers mean little.
QUICK = Plan(
    rounds=1,
    long_rounds=1,
    idle_bursts=1,
    idle_burst_events=1_000,
    idle_seconds=0.2,
    request_pairs=3,
    rates=(5_000,),
    paced_seconds=0.2,
    outage_seconds=0.5,
    outage_calls=1,
    outage_patience_seconds=1.5,
    end_to_end_events=10_000,
    end_to_end_tasks=500,
    workers=(1,),
    latency_events=20,
    memory_events=20_000,
    redis_events=5_000,
    redis_tasks=200,
    segment_events=3_000,
    deliver_events=500,
    collector_seconds=0.2,
    live_rates=(100,),
    live_seconds=1.0,
    crowd_processes=4,
    crowd_rates=(40,),
    crowd_seconds=2.0,
    rest_processes=(1, 4),
    rest_workers=(),
    rest_seconds=2.0,
    board_seconds=3.0,
    destinations=(10,),
    growth_processes=(1, 4),
    growth_destinations=(2,),
    growth_waiting=(30_000,),
    growth_kilobytes=(0.2, 100),
    growth_events=3_000,
    growth_bytes=3_000_000,
    export_lines=5_000,
)
