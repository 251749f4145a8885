"""Targets: the numbers that we want to reach, and by how much we do or do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    return [*_of_calls(rows), *_of_the_road(rows), *_of_collectors(rows), *_of_sites(rows), *_beside_before(rows)]


def _of_calls(rows: Sequence[Row]) -> list[Target]:
    idle = _best(rows, "idle", "ours", "one", "p50_us", min)
    peer = _best(rows, "idle", "segment_analytics", "", "p50_us", min)
    floor = _best(rows, "idle", "floor", "", "p50_us", min)
    up = _best(rows, "outage", "ours", "up", "p50_us", min)
    up_tail = _best(rows, "outage", "ours", "up", "p999_us", min)
    tail = _best(rows, "paced", "ours", "5,000/s", "p999_us", min)
    found = [
        Target(name="emit, p50", kind="≤", wanted=5, unit="µs", measured=idle),
        _at_most("emit, p50 / the floor", 2.2, _per(idle, floor)),
        _at_most("emit, p50 / segment-analytics-python", 0.25, _per(idle, peer)),
        Target(name="emit, p99.9 at 5,000/s", kind="≤", wanted=100, unit="µs", measured=tail),
    ]
    for state in ("refusing", "stopped"):
        p50 = _best(rows, "outage", "ours", state, "p50_us", min)
        p999 = _best(rows, "outage", "ours", state, "p999_us", min)
        # "The same", within the difference of two equal runs on this machine.
        found.append(_at_most(f"emit, p50, Redis {state} / up", 1.25, _per(p50, up)))
        found.append(_at_most(f"emit, p99.9, Redis {state} / up", 1.5, _per(p999, up_tail)))
        found.append(Target(name=f"emit, p99.9, Redis {state}", kind="≤", wanted=1000, unit="µs", measured=p999))
    return found


def _of_the_road(rows: Sequence[Row]) -> list[Target]:
    to_log = [row for row in rows if not row.case.endswith("with Segment")]
    beside = [row for row in to_log if row.case.endswith("relay process")]
    thread = [row for row in to_log if not row.case.endswith("relay process")]
    ours = _best(to_log, "end_to_end", "ours", "", "events_per_second", max)
    in_thread = _best(thread, "end_to_end", "ours", "", "events_per_second", max)
    in_process = _best(beside, "end_to_end", "ours", "", "events_per_second", max)
    tasks = _best(rows, "end_to_end", "celery_delay", "", "events_per_second", max)
    memory = _best(rows, "memory", "ours", "", "largest_rss_mib", max)
    stored = _best(rows, "redis_bytes", "ours", "", "bytes_per_event", min)
    message = _best(rows, "redis_bytes", "celery_delay", "", "bytes_per_event", min)
    latency = {
        (subject, name): _best(rows, "latency", subject, "", name, max)
        for subject in ("ours", "celery_delay")
        for name in ("p50_us", "p99_us")
    }
    found = [
        Target(name="emit to line, both cores", kind="≥", wanted=60_000, unit="events/s", measured=ours),
        _at_least("… / one task per event", 75, _per(ours, tasks)),
        _at_least("… with the relay in a thread / in a process", 0.85, _per(in_thread, in_process)),
    ]
    for name, title, times in (("p50_us", "p50", 2), ("p99_us", "p99", 3)):
        ratio = _per(latency["ours", name], latency["celery_delay", name])
        found.append(_at_most(f"call to line at 20/s, {title} / delay()", times, ratio))
    segment = {
        metric: (
            _best(rows, "segment", "ours", "", metric, pick),
            _best(rows, "segment", "segment_analytics", "1 process", metric, pick),
        )
        for metric, pick in (("events_per_second", max), ("cpu_us_per_event", min))
    }
    return [
        *found,
        Target(name="growth while a million events wait", kind="≤", wanted=20, unit="MiB", measured=memory),
        _at_most("Redis bytes / one message per event", 0.2, _per(stored, message)),
        _at_least("to Segment, events/s / segment-analytics-python", 3, _per(*segment["events_per_second"])),
        _at_most("to Segment, CPU an event / segment-analytics-python", 0.5, _per(*segment["cpu_us_per_event"])),
    ]


def _of_collectors(rows: Sequence[Row]) -> list[Target]:
    ours, bare = (
        _best(rows, "collector", subject, "1 event a request", "cpu_us_per_request", min)
        for subject in ("ours", "bare_uvicorn")
    )
    return [_at_most("an event over HTTP, CPU / bare uvicorn", 1.3, _per(ours, bare))]


def _of_sites(rows: Sequence[Row]) -> list[Target]:
    quiet, busy = "40 processes, 200/s", "40 processes, 5,000/s"
    found = [
        Target(
            name=f"{quiet}, the longest wait",
            kind="≤",
            wanted=2,
            unit="s",
            measured=_best(rows, "crowd", "ours", quiet, "longest_wait_s", max),
        ),
        Target(
            name=f"{quiet}, all there after the end",
            kind="≤",
            wanted=3,
            unit="s",
            measured=_best(rows, "crowd", "ours", quiet, "all_there_after_s", max),
        ),
        Target(
            name=f"{busy}, messages a request",
            kind="≥",
            wanted=80,
            unit="",
            measured=_best(rows, "crowd", "ours", busy, "messages_per_request", min),
        ),
    ]
    for case in ("1 process, a worker", "100 processes, a worker"):
        exact = [row for row in rows if row.case == case]
        emitting = _best(exact, "rest", "ours", case, "emitting_ms_s", max)
        name = f"at rest, an emitting process, {case.partition(',')[0]}"
        found.append(Target(name=name, kind="≤", wanted=1, unit="ms/s", measured=emitting))
    commands = _best(rows, "rest", "ours", "1 process, a worker, a relay process", "redis_commands_s", max)
    name = "at rest, Redis, a worker and a relay"
    return [*found, Target(name=name, kind="≤", wanted=5, unit="commands/s", measured=commands)]


def _beside_before(rows: Sequence[Row]) -> list[Target]:
    """Against the checkout of ``--beside``: not worse, within the difference of two equal runs on this machine."""
    found = []
    for measurement, case, metric, name, most in (
        ("idle", "one", "p50_us", "emit, p50 / before", 1.05),
        ("paced", "5,000/s", "p999_us", "emit, p99.9 at 5,000/s / before", 1.25),
    ):
        ours, before = (_best(rows, measurement, subject, case, metric, min) for subject in ("ours", "before"))
        found.append(_at_most(name, most, _per(ours, before)))
    to_log = [row for row in rows if not row.case.endswith("with Segment")]
    ours, before = (
        _best(to_log, "end_to_end", subject, "", "events_per_second", max) for subject in ("ours", "before")
    )
    return [*found, _at_least("emit to line, both cores / before", 0.97, _per(ours, before))]


def _at_least(name: str, wanted: float, measured: float | None) -> Target:
    return Target(name=name, kind="≥", wanted=wanted, unit="times", measured=measured)


def _at_most(name: str, wanted: float, measured: float | None) -> Target:
    return Target(name=name, kind="≤", wanted=wanted, unit="times", measured=measured)


def _best(
    rows: Sequence[Row], measurement: str, subject: str, case: str, metric: str, pick: Callable[[list[float]], float]
) -> float | None:
    found = [row.metrics[metric] for row in find(rows, measurement, subject, case) if metric in row.metrics]
    return pick(found) if found else None


def _per(value: float | None, by: float | None) -> float | None:
    return None if value is None or not by else value / by
