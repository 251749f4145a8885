"""Line files: several files of lines, of which each is counted or rewritten, whatever is wrong with the others."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import AbstractContextManager, nullcontext
from itertools import groupby
from pathlib import Path
from typing import Final

from dispatcher.forgetting.log_file import ChangeLine, LogFile, is_written_to
from dispatcher.forgetting.log_reader import WHOLE, Consume, FilePart, LogFileError, LogReader, ignore, parts_of
from dispatcher.forgetting.person import Person
from dispatcher.forgetting.place import Found, Watcher
from dispatcher.forgetting.search import LineSearch

__all__ = ["ChangeLine", "count_each", "rewrite_one"]

# Bytes from which other processes help to look: they take half a second to start.
_SHARED_FROM_BYTES: Final = 128 << 20
# Bytes of a plain file that one of them looks through at a time.
_PART_BYTES: Final = 64 << 20

#: Holds a file against others who would change it, or raises LogFileError.
Hold = Callable[[Path], AbstractContextManager[None]]


def count_each(place: str, paths: Sequence[Path], person: Person, watch: Watcher) -> Iterator[Found]:
    """How many lines of each file name a person. Large files are looked through in as many processes as there may be.

    Blocks; yields in the order of the paths. A file that cannot be read says so in ``left``.
    """
    sizes = [_size(path) for path in paths]
    total, processes = sum(sizes), os.cpu_count() or 1
    if processes > 1 and total >= _SHARED_FROM_BYTES:
        parts = [(path, part) for path in paths for part in _parts(path)]
        if len(parts) > 1:
            yield from _count_in_processes(place, parts, person, min(processes, len(parts)), watch)
            return
    done = 0

    def consume(count: int) -> None:
        nonlocal done
        done += count
        watch(place, done, total)

    for path in paths:
        watch(place, done, total)
        yield _count(place, path, WHOLE, person, consume)


def _count_in_processes(
    place: str, parts: Sequence[tuple[Path, FilePart]], person: Person, processes: int, watch: Watcher
) -> Iterator[Found]:
    """Each part in the next process that has time; then, for each file, what was found in all of its parts."""
    # Not by fork: whoever calls may have threads.
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(_count, place, path, part, person) for path, part in parts]
        sizes = {
            future: (_size(path) if part.end is None else part.end) - part.start
            for future, (path, part) in zip(futures, parts, strict=True)
        }
        done, total = 0, sum(sizes.values())
        watch(place, done, total)
        for future in as_completed(futures):
            done += sizes[future]
            watch(place, done, total)
    for _, of_file in groupby(zip(parts, futures, strict=True), lambda one: one[0][0]):
        yield _sum_of([future.result() for _, future in of_file])


def _sum_of(parts: Sequence[Found]) -> Found:
    for part in parts:
        if part.left:
            return part
    events, of = sum(part.events for part in parts), sum(part.of for part in parts)
    return Found(place=parts[0].place, where=parts[0].where, events=events, of=of)


def _parts(path: Path) -> list[FilePart]:
    try:
        return parts_of(path, _PART_BYTES)
    except OSError:
        return [WHOLE]  # who looks through it says why


def rewrite_one(
    place: str, path: Path, person: Person, change: ChangeLine, watch: Watcher, hold: Hold | None = None
) -> Found:
    """Take a person out of the lines of a file. Blocks.

    Args:
        place: The name of the place.
        path: The file.
        person: Whose lines.
        change: What becomes of a line.
        watch: Told how far it is.
        hold: Holds the file; without it, one that somebody has open for writing is left as it is.

    Returns:
        In how many lines that was, or why nothing was done.
    """
    size, done = _size(path), 0

    def consume(count: int) -> None:
        nonlocal done
        done += count
        watch(place, done, size)

    try:
        if hold is None and is_written_to(path):
            raise LogFileError(f"{path} is being written to: rotate it, or end its writer, and run it again")
        with nullcontext() if hold is None else hold(path):
            named, lines = LogFile(path).rewrite(LineSearch(person), change, consume)
    except (OSError, LogFileError) as error:
        return Found(place=place, where=str(path), left=_describe(error))
    return Found(place=place, where=str(path), events=named, of=lines)


def _count(place: str, path: Path, part: FilePart, person: Person, consume: Consume = ignore) -> Found:
    try:
        named, lines = LogReader(path).count(LineSearch(person), consume, part)
    except (OSError, LogFileError) as error:
        return Found(place=place, where=str(path), left=_describe(error))
    return Found(place=place, where=str(path), events=named, of=lines)


def _describe(error: OSError | LogFileError) -> str:
    return f"{error.strerror or error}" if isinstance(error, OSError) else str(error)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
