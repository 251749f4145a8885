"""Report: the rows as tables on the terminal, and as JSON."""

from __future__ import annotations

import os
import platform
import sysconfig
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from tests.benchmarks.emitters import TITLES
from tests.benchmarks.summary import Row
from tests.benchmarks.targets import Target

_HEADINGS: Final = {
    "idle": "A call, one after another, with the relay at rest",
    "paced": "A call at a steady rate, with the relay thread at work",
    "outage": "A call with Redis up, refusing and stopped (ours at 5,000/s)",
    "end_to_end": "From emit to the line in the log, all processes on this machine",
    "latency": "From the call to the line in the log, at light load",
    "memory": "Growth of the emitting process while events wait",
    "redis_bytes": "Redis memory for an event that waits",
}
# The column by which subjects are compared.
_COMPARED: Final = {
    "idle": "p50_us",
    "paced": "p50_us",
    "outage": "p50_us",
    "end_to_end": "events_per_second",
    "latency": "p50_us",
    "memory": "bytes_per_event",
    "redis_bytes": "bytes_per_event",
}
_UNITS: Final = {"us": "µs", "cpu": "CPU", "mib": "MiB", "second": "s"}
# Columns that are only shown if they are not zero.
_FAULTS: Final = frozenset({"missing", "doubled", "dropped", "segment_missing", "segment_doubled"})
_PACKAGES: Final = (
    "event-dispatcher",
    "celery",
    "kombu",
    "redis",
    "msgspec",
    "segment-analytics-python",
    "event-tracking",
)


def tables(console: Console, rows: Sequence[Row], found: Sequence[Target]) -> None:
    """Print a table for each measurement, and the targets."""
    for measurement in dict.fromkeys(row.measurement for row in rows):
        console.print(_table(measurement, [row for row in rows if row.measurement == measurement]))
    console.print(_target_table(found))


def as_json(rows: Sequence[Row], found: Sequence[Target], *, quick: bool) -> dict[str, Any]:
    """Everything about the run."""
    return {
        "run": {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "quick": quick,
            "python": platform.python_version(),
            # A Python built without optimizations is up to half as slow again.
            "python_built": sysconfig.get_config_var("CONFIG_ARGS"),
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
            "cores": os.cpu_count(),
            "packages": {name: _version(name) for name in _PACKAGES},
        },
        "rows": [asdict(row) for row in rows],
        "targets": [asdict(one) | {"reached": one.reached, "margin": one.margin} for one in found],
    }


def _table(measurement: str, rows: Sequence[Row]) -> Table:
    table = Table(title=_HEADINGS[measurement], title_justify="left")
    compared = _COMPARED[measurement]
    names = [
        name
        for name in dict.fromkeys(name for row in rows for name in row.metrics)
        if name not in _FAULTS or any(row.metrics.get(name) for row in rows)
    ]
    table.add_column("what")
    table.add_column("case")
    for name in names:
        table.add_column(_title(name), justify="right")
    table.add_column("times ours", justify="right")
    table.add_column("")
    for row in rows:
        cells = [_number(row.metrics.get(name)) for name in names]
        table.add_row(TITLES[row.subject], row.case, *cells, _ratio(row, rows, compared), row.note)
    return table


def _ratio(row: Row, rows: Sequence[Row], compared: str) -> str:
    # Our row of the same case, or else our first row.
    ours = [one for one in rows if one.subject == "ours" and compared in one.metrics]
    base = next((one for one in ours if one.case == row.case), ours[0] if ours else None)
    if row.subject == "ours" or base is None or compared not in row.metrics or not base.metrics[compared]:
        return ""
    return f"{row.metrics[compared] / base.metrics[compared]:.3g}"


def _target_table(found: Sequence[Target]) -> Table:
    table = Table(title="Targets", title_justify="left")
    for title in ("what", "target", "measured", "", "margin"):
        table.add_column(title, justify="left" if title in ("what", "") else "right")
    words = {True: "[green]reached[/]", False: "[red]not reached[/]", None: "not measured"}
    for one in found:
        margin = "" if one.margin is None else f"{one.margin:.2f}"
        wanted, measured = f"{one.kind} {_number(one.wanted)} {one.unit}", _number(one.measured)
        table.add_row(one.name, wanted, measured and f"{measured} {one.unit}", words[one.reached], margin)
    return table


def _title(name: str) -> str:
    words = [_UNITS.get(word, word) for word in name.replace("p999", "p99.9").split("_")]
    return " ".join(words).replace(" per ", "/")


def _number(value: float | None) -> str:
    if value is None:
        return ""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:,.3g}" if abs(value) < 100 else f"{value:,.1f}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
