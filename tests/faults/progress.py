"""Progress: what web processes note of their own emits, in mapped files that outlive a kill -9."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.faults.numbering import key

#: Two for each thread: how many emits it has begun, and how many have returned.
WORDS: Final = struct.Struct("@QQ")


@dataclass(frozen=True, slots=True)
class Emitted:
    """What the web processes say that they emitted.

    Args:
        sure: The events whose emit returned.
        unsure: Those whose process was killed within emit, or whose machine lost power before they were synced: they
            may be there or not.
        refused: How many emit refused.
    """

    sure: frozenset[str]
    unsure: frozenset[str]
    refused: int


def progress_path(directory: Path, number: int) -> Path:
    """Where a web process keeps its count."""
    return directory / f"web-{number}.progress"


def refused_path(directory: Path, number: int) -> Path:
    """Where it notes the events that emit refused."""
    return directory / f"web-{number}.refused"


def read_emitted(directory: Path, processes: int, kept: Mapping[int, Sequence[int]] | None = None) -> Emitted:
    """What so many web processes have noted, those that were killed too.

    Args:
        kept: For those whose machine lost power: how many emits of each thread had returned so long before that they
            were synced by then.
    """
    sure: set[str] = set()
    unsure: set[str] = set()
    refused: set[str] = set()
    for number in range(processes):
        limits = kept.get(number) if kept is not None else None
        for thread, (begun, returned) in enumerate(_counts(directory, number)):
            certain = returned if limits is None else limits[thread] if thread < len(limits) else 0
            sure.update(key(number, thread, n) for n in range(certain))
            unsure.update(key(number, thread, n) for n in range(certain, begun))
        if refused_path(directory, number).exists():
            refused.update(refused_path(directory, number).read_text().split())
    return Emitted(frozenset(sure - refused), frozenset(unsure - refused), len(refused))


def count_emitted(directory: Path, processes: int) -> int:
    """How many emits have returned so far."""
    return sum(returned for number in range(processes) for _, returned in _counts(directory, number))


def returned_from(directory: Path, number: int) -> list[int]:
    """How many emits of each thread of a web process have returned so far."""
    return [returned for _, returned in _counts(directory, number)]


def _counts(directory: Path, number: int) -> Iterator[tuple[int, int]]:
    try:
        words = progress_path(directory, number).read_bytes()
    except FileNotFoundError:
        return iter(())  # killed before it began
    return WORDS.iter_unpack(words)  # type: ignore[return-value]
