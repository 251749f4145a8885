"""Report: the rows as tables on the terminal, and as JSON."""

from __future__ import annotations

import os
import platform
import subprocess
import sysconfig
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from tests.benchmarks.beside import HERE
from tests.benchmarks.emitters import TITLES
from tests.benchmarks.measurements import MEASUREMENTS
from tests.benchmarks.summary import Row
from tests.benchmarks.targets import Target

_UNITS: Final = {"us": "µs", "cpu": "CPU", "mib": "MiB", "second": "s"}
# Columns that are only shown if they are not zero.
_FAULTS: Final = frozenset({"missing", "doubled", "dropped", "late", "segment_missing", "segment_doubled"})
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
    """Print a table for each measurement, and the targets that were measured."""
    for measurement in dict.fromkeys(row.measurement for row in rows):
        console.print(_table(measurement, [row for row in rows if row.measurement == measurement]))
    if any(one.measured is not None for one in found):
        console.print(_target_table([one for one in found if one.measured is not None]))


def as_json(rows: Sequence[Row], found: Sequence[Target], *, quick: bool) -> dict[str, Any]:
    """Everything about the run."""
    return {
        "run": {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": _commit(),
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


def columns(rows: Sequence[Row]) -> list[str]:
    """The metrics of a table, without faults that did not occur."""
    names = dict.fromkeys(name for row in rows for name in row.metrics)
    return [name for name in names if name not in _FAULTS or any(row.metrics.get(name) for row in rows)]


def ratio(row: Row, rows: Sequence[Row]) -> str:
    """How many times ours a peer's row is: of the same case, or else our first row. Empty for our own."""
    compared = MEASUREMENTS[row.measurement].compared
    ours = [one for one in rows if one.subject == "ours" and compared in one.metrics]
    base = next((one for one in ours if one.case == row.case), ours[0] if ours else None)
    if row.subject == "ours" or base is None or compared not in row.metrics or not base.metrics[compared]:
        return ""
    return f"{row.metrics[compared] / base.metrics[compared]:.3g}"


def title(name: str) -> str:
    """The heading of a metric's column: its unit is the last part of its name."""
    words = [_UNITS.get(word, word) for word in name.replace("p999", "p99.9").split("_")]
    return " ".join(words).replace(" per ", "/")


def number(value: float | None) -> str:
    """For people: three digits, or more of large numbers. Empty for None."""
    if value is None:
        return ""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:,.3g}" if abs(value) < 100 else f"{value:,.1f}"


def _table(measurement: str, rows: Sequence[Row]) -> Table:
    table = Table(title=MEASUREMENTS[measurement].heading, title_justify="left")
    names = columns(rows)
    table.add_column("what")
    table.add_column("case")
    for name in names:
        table.add_column(title(name), justify="right")
    table.add_column("times ours", justify="right")
    table.add_column("")
    for row in rows:
        cells = [number(row.metrics.get(name)) for name in names]
        table.add_row(TITLES[row.subject], row.case, *cells, ratio(row, rows), row.note)
    return table


def _target_table(found: Sequence[Target]) -> Table:
    table = Table(title="Targets", title_justify="left")
    for heading in ("what", "target", "measured", "", "margin"):
        table.add_column(heading, justify="left" if heading in ("what", "") else "right")
    words = {True: "[green]reached[/]", False: "[red]not reached[/]", None: ""}
    for one in found:
        margin = "" if one.margin is None else f"{one.margin:.2f}"
        wanted, measured = f"{one.kind} {number(one.wanted)} {one.unit}", number(one.measured)
        table.add_row(one.name, wanted, measured and f"{measured} {one.unit}", words[one.reached], margin)
    return table


def _commit() -> str:
    """The commit of this checkout, with a + if something is not committed; empty where git does not know."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty=+"], cwd=HERE.directory, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
