"""The lines of a tracking log or of the Segment stub's file, as tests count them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from tests.support.waiting import is_waiting


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All lines, decoded; none if the file does not exist yet.

    Fails for a line that is not whole JSON, and in a condition of ``wait_for``: it is called while lines are written.
    """
    assert not is_waiting.get(), "read_whole_lines is for what is still being written"
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.split(b"\n") if line]


def count_lines(path: Path) -> int:
    """The number of whole lines. Cheap."""
    try:
        return path.read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def tally(path: Path, key: str = "n") -> Counter[Any]:
    """How often each value of ``key`` in the event's data has a line."""
    return Counter(line["event"][key] for line in read_lines(path))


def assert_each_once(path: Path, count: int, key: str = "n") -> None:
    """Fail unless the lines' numbers are 0 … count-1, each once, in any order."""
    found = tally(path, key)
    doubled = {number: times for number, times in found.items() if times > 1}
    missing = [number for number in range(count) if number not in found]
    assert not doubled, f"{len(doubled)} events have more than one line, such as {dict(list(doubled.items())[:5])}"
    assert not missing, f"{len(missing)} of {count} events have no line, such as {missing[:5]}"
    assert len(found) == count, f"{len(found) - count} lines nobody emitted"
