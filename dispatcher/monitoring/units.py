"""Units: durations, sizes and counts as people read them."""

from __future__ import annotations

from rich.filesize import decimal


def duration_text(seconds: float) -> str:
    """A duration in whole seconds, minutes, hours or days, rounded down: 119 s, 4 min, 5 h, 6 d. Never below 0 s."""
    whole = max(0, int(seconds))
    for limit, unit, length in ((120, "s", 1), (7200, "min", 60), (172_800, "h", 3600)):
        if whole < limit:
            return f"{whole // length} {unit}"
    return f"{whole // 86_400} d"


def size_text(number_of_bytes: float) -> str:
    """A size in steps of 1,000: 775 bytes, 8.4 MB, 2.1 GB."""
    return decimal(int(number_of_bytes))


def count_text(number: int, noun: str, plural: str = "") -> str:
    """A number of things as text: 1 event, 12,345 events.

    Args:
        number: How many.
        noun: In the singular.
        plural: For other numbers than 1; empty: the noun takes an s.
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"
