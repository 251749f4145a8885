"""Summary: makes one row of the rounds of a step: medians, or maxima where the worst round counts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

# Metrics of which the worst round counts: an event lost in one round is lost.
_WORST: Final = frozenset(
    {"max_us", "missing", "doubled", "dropped", "segment_missing", "segment_doubled", "largest_rss_mib"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One subject in one case of one measurement.

    Args:
        metrics: Numbers by names that end in their unit.
        note: A remark beside the numbers, or instead of them.
        rounds: The result of each round.
    """

    measurement: str
    subject: str
    case: str
    metrics: dict[str, float]
    note: str
    rounds: list[dict[str, Any]]


def summarise(measurement: str, subject: str, case: str, rounds: list[dict[str, Any]]) -> Row:
    """The row of all rounds of a step."""
    names = list(dict.fromkeys(name for one in rounds for name, value in one.items() if isinstance(value, int | float)))
    return Row(
        measurement=measurement,
        subject=subject,
        case=case,
        metrics={name: _one(name, [one[name] for one in rounds if name in one]) for name in names},
        note=next((note for one in rounds if (note := _note(one))), ""),
        rounds=rounds,
    )


def find(rows: Iterable[Row], measurement: str, subject: str, case: str = "") -> list[Row]:
    """The rows of a subject whose cases start with ``case``."""
    return [
        row for row in rows if (row.measurement, row.subject) == (measurement, subject) and row.case.startswith(case)
    ]


def _one(name: str, values: list[float]) -> float:
    return max(values) if name in _WORST else median(values)


def _note(result: dict[str, Any]) -> str:
    if "not_installed" in result:
        return f"not installed ({result['not_installed']})"
    return str(result.get("failed") or result.get("note") or "")
