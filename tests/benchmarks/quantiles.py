"""Quantiles of the durations of calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_LEVELS: Final = {"p50_us": 0.5, "p99_us": 0.99, "p999_us": 0.999}


def quantiles(nanoseconds: Sequence[int]) -> dict[str, float]:
    """p50, p99, p99.9 and the maximum in microseconds, and the number of calls."""
    ordered = sorted(nanoseconds)
    found = {name: round(_at(ordered, level) / 1000, 2) for name, level in _LEVELS.items()}
    return found | {"max_us": round(ordered[-1] / 1000, 2), "calls": len(ordered)}


def _at(ordered: Sequence[int], level: float) -> int:
    return ordered[min(len(ordered) - 1, int(len(ordered) * level))]
