"""Progress: web processes record their own emits in memory-mapped files, which outlive a kill -9."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.faults.numbering import key

#: Two numbers for each thread: how many emits it has begun, and how many have returned.
WORDS: Final = struct.Struct("@QQ")


@dataclass(frozen=True, slots=True)
class Emitted:
    """What the web processes have recorded of their emits.

    Args:
        sure: The events whose emit returned.
        unsure: Events that may be there or not: their process was killed within emit, or their machine lost power
            before they were synced.
        refused: How many events emit refused.
    """

    sure: frozenset[str]
    unsure: frozenset[str]
    refused: int


def progress_path(directory: Path, number: int) -> Path:
    """The file in which a web process records its progress."""
    return directory / f"web-{number}.progress"


def refused_path(directory: Path, number: int) -> Path:
    """The file in which it records the events that emit refused."""
    return directory / f"web-{number}.refused"


def read_emitted(directory: Path, processes: int, synced: Mapping[int, Sequence[int]] | None = None) -> Emitted:
    """What the first ``processes`` web processes have recorded, including killed ones.

    Args:
        synced: For processes whose machine lost power, by number: how many emits of each thread were synced by then.
    """
    sure: set[str] = set()
    unsure: set[str] = set()
    refused: set[str] = set()
    for number in range(processes):
        limits = synced.get(number) if synced is not None else None
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
