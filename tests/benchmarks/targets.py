"""Targets: the numbers that we want to reach, and by how much we do or do not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from tests.benchmarks.summary import Row, find


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One number to reach.

    Args:
        wanted: The maximum or the minimum, according to ``kind``.
        measured: None if this run did not measure it.
    """

    name: str
    kind: Literal["≤", "≥"]
    wanted: float
    unit: str
    measured: float | None

    @property
    def reached(self) -> bool | None:
        if self.measured is None:
            return None
        return self.measured <= self.wanted if self.kind == "≤" else self.measured >= self.wanted

    @property
    def margin(self) -> float | None:
        """How many times better than wanted; below 1 if the target was missed."""
        if self.measured is None or self.measured == 0:
            return None
        return self.wanted / self.measured if self.kind == "≤" else self.measured / self.wanted


def targets(rows: Sequence[Row]) -> list[Target]:
    """All targets, with the numbers of these rows."""
    idle = _best(rows, "idle", "ours", "one", "p50_us", min)
    peer = _best(rows, "idle", "segment_analytics", "", "p50_us", min)
    up = _best(rows, "outage", "ours", "up", "p50_us", min)
    up_tail = _best(rows, "outage", "ours", "up", "p999_us", min)
    ours = _best(_log_only(rows), "end_to_end", "ours", "", "events_per_second", max)
    tasks = _best(rows, "end_to_end", "celery_delay", "", "events_per_second", max)
    memory = _best(rows, "memory", "ours", "", "largest_rss_mib", max)
    stored = _best(rows, "redis_bytes", "ours", "", "bytes_per_event", min)
    message = _best(rows, "redis_bytes", "celery_delay", "", "bytes_per_event", min)
    tail = _best(rows, "paced", "ours", "5,000/s", "p999_us", min)
    latency = [_best(rows, "latency", "ours", "", name, max) for name in ("p50_us", "p99_us")]
    found = [
        Target(name="emit, p50", kind="≤", wanted=5, unit="µs", measured=idle),
        _ratio("emit, p50 / segment-analytics-python", 0.25, _per(idle, peer)),
        Target(name="emit, p99.9 at 5,000/s", kind="≤", wanted=100, unit="µs", measured=tail),
    ]
    for state in ("refusing", "stopped"):
        p50 = _best(rows, "outage", "ours", state, "p50_us", min)
        p999 = _best(rows, "outage", "ours", state, "p999_us", min)
        # "The same", within the difference of two equal runs on this machine.
        found.append(_ratio(f"emit, p50, Redis {state} / up", 1.25, _per(p50, up)))
        found.append(_ratio(f"emit, p99.9, Redis {state} / up", 1.5, _per(p999, up_tail)))
        found.append(Target(name=f"emit, p99.9, Redis {state}", kind="≤", wanted=1000, unit="µs", measured=p999))
    return [
        *found,
        Target(name="emit to line, both cores", kind="≥", wanted=60_000, unit="events/s", measured=ours),
        Target(name="… / one task per event", kind="≥", wanted=75, unit="times", measured=_per(ours, tasks)),
        Target(name="emit to line, light load, p50", kind="≤", wanted=100, unit="ms", measured=_per(latency[0], 1000)),
        Target(name="emit to line, light load, p99", kind="≤", wanted=300, unit="ms", measured=_per(latency[1], 1000)),
        Target(name="growth while a million events wait", kind="≤", wanted=20, unit="MiB", measured=memory),
        _ratio("Redis bytes / one message per event", 0.2, _per(stored, message)),
    ]


def _ratio(name: str, wanted: float, measured: float | None) -> Target:
    return Target(name=name, kind="≤", wanted=wanted, unit="times", measured=measured)


def _log_only(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if not row.case.endswith("with Segment")]


def _best(
    rows: Sequence[Row], measurement: str, subject: str, case: str, metric: str, pick: Callable[[list[float]], float]
) -> float | None:
    found = [row.metrics[metric] for row in find(rows, measurement, subject, case) if metric in row.metrics]
    return pick(found) if found else None


def _per(value: float | None, by: float | None) -> float | None:
    return None if value is None or not by else value / by
