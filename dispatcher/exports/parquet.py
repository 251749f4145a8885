"""ParquetExport: logs become a directory of Parquet files, one for each day. Done again it changes nothing.

What is under way stands in ``_work``: an export that was killed goes on from there. A day's file is replaced at once.
"""

from __future__ import annotations

import gc
import hashlib
import multiprocessing
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa

from dispatcher.errors import DispatcherError
from dispatcher.exports.day_files import DayCounts, day_directory, describe, drop_repeats
from dispatcher.exports.log_parts import PART_BYTES, LogPart, split_log
from dispatcher.exports.manifest import InputCounts, Manifest
from dispatcher.exports.part_reading import Chosen, PartResult, files_of, read_part, read_result
from dispatcher.exports.target import held, place
from dispatcher.version import __version__

# Seconds between two looks at how far the processes are.
_LOOK_SECONDS: Final = 0.2
_NAME_CHARACTERS: Final = 16
_CHOSEN_CHARACTERS: Final = 4

#: Told how much is done: what is being done, and how many bytes or days of how many.
Watcher = Callable[[str, int, int], None]


class ParquetExport:
    """One export. Call ``run`` once.

    Args:
        logs: The tracking logs, each once.
        directory: Where the files go. It is made where it is missing.
        chosen: Which events are wanted.
        processes: How many read at a time.
        again: Read too what an earlier export has read. Events that are there are not added again.
        part_bytes: Bytes of a plain log that one process reads at a time.
    """

    def __init__(
        self,
        logs: Sequence[Path],
        directory: Path,
        chosen: Chosen,
        *,
        processes: int,
        again: bool = False,
        part_bytes: int = PART_BYTES,
    ) -> None:
        self._logs = logs
        self._directory = directory
        self._chosen = chosen
        self._chosen_digest = hashlib.sha256(msgspec.json.encode(chosen)).hexdigest()[:_CHOSEN_CHARACTERS]
        self._processes = processes
        self._again = again
        self._part_bytes = part_bytes

    def run(self, watch: Watcher) -> Manifest:
        """Export. Blocks for some seconds for a million lines, and starts processes.

        Returns:
            What was done, as it stands in the directory's ``_manifests``.

        Raises:
            DispatcherError: A log cannot be opened or is another one now, the disk is full, or another export writes
                to the directory. What is whole stays, and another run goes on from there.
        """
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with held(self._directory):
                return self._run(watch)
        except OSError as error:
            raise DispatcherError(
                f"the export has ended: {error}. What is done is kept; run it again in the same way to go on"
            ) from error
        except pa.ArrowException as error:
            raise DispatcherError(f"the export has ended: {error}. Run it again in the same way to go on") from error

    def _run(self, watch: Watcher) -> Manifest:
        every_part = [part for log in self._logs for part in split_log(log, self._part_bytes)]
        # One log may be given twice, under two names.
        found = {part.name: part for part in reversed(every_part)}
        parts = [part for part in reversed(found.values()) if self._again or not self._mark(part).exists()]
        name = self._name(parts)
        work = self._directory / "_work" / name
        results = self._read(parts, work, watch)
        days = sorted({day for result in results for day in result.days})
        counts = []
        for number, day in enumerate(days):
            watch("writing days", number, len(days))
            came = sum(result.days.get(day, 0) for result in results)
            counts.append(self._write_day(day, parts, work, came))
        manifest = Manifest(
            format="parquet",
            version=__version__,
            earlier_bytes=sum(part.end - part.start for part in every_part if part not in parts),
            inputs=_inputs(parts, results),
            days=counts,
            broken_lines=self._keep_broken_lines(parts, results, work, name),
        )
        self._put(self._directory / "_manifests" / f"{name}.json", manifest.to_json().encode())
        for part, result in zip(parts, results, strict=True):
            if not result.ended:
                self._put(self._mark(part), msgspec.json.encode(result))
        shutil.rmtree(work, ignore_errors=True)
        return manifest

    def _mark(self, part: LogPart) -> Path:
        """The file that says that all of a part's events are there."""
        return self._directory / "_exported" / f"{part.name}-{self._chosen_digest}.json"

    def _name(self, parts: Sequence[LogPart]) -> str:
        """The same for the same export."""
        what = [self._chosen, __version__, [(str(part.path), part.name) for part in parts]]
        return hashlib.sha256(msgspec.json.encode(what)).hexdigest()[:_NAME_CHARACTERS]

    def _read(self, parts: Sequence[LogPart], work: Path, watch: Watcher) -> list[PartResult]:
        """Read what no earlier run has read, in as many processes as there may be."""
        total = sum(part.end - part.start for part in parts)
        results = [read_result(work / part.name) for part in parts]
        done = sum(part.end - part.start for part, result in zip(parts, results, strict=True) if result is not None)
        missing = [number for number, result in enumerate(results) if result is None]
        watch("reading", done, total)
        if min(self._processes, len(missing)) == 1:
            for number in missing:
                part = parts[number]

                def consume(count: int) -> None:
                    nonlocal done
                    done += count
                    watch("reading", done, total)

                results[number] = read_part(part, work / part.name, self._chosen, consume)
        elif missing:
            jobs = [(number, parts[number], work / parts[number].name) for number in missing]
            for number, result in self._read_in_processes(jobs, lambda count: watch("reading", done + count, total)):
                results[number] = result
        return [result for result in results if result is not None]

    def _read_in_processes(
        self, jobs: Sequence[tuple[int, LogPart, Path]], watch: Callable[[int], None]
    ) -> Iterator[tuple[int, PartResult]]:
        # Not by fork: whoever calls may have threads.
        context = multiprocessing.get_context("spawn")
        consumed = context.Value("q", 0)
        processes = min(self._processes, len(jobs))
        with ProcessPoolExecutor(processes, context, initializer=_begin, initargs=(consumed,)) as pool:
            futures: dict[Future[PartResult], int] = {
                pool.submit(_read_part, part, directory, self._chosen): number for number, part, directory in jobs
            }
            left = set(futures)
            try:
                while left:
                    ended, left = wait(left, timeout=_LOOK_SECONDS, return_when=FIRST_COMPLETED)
                    for future in ended:
                        yield futures[future], future.result()
                    watch(consumed.value)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def _write_day(self, day: str, parts: Sequence[LogPart], work: Path, rows: int) -> DayCounts:
        target = self._directory / day_directory(day)
        noted = work / f"{day}.json"
        new = {file: self._file_name(part, file) for part in parts for file in files_of(work / part.name, day)}
        counts = _read_counts(noted)
        if counts is None:
            existing = sorted(target.glob("*.parquet"))
            before = drop_repeats(existing, list(new))
            files = [describe(file, f"{target.name}/{name}") for file, name in new.items() if file.exists()]
            # Not what was dropped just now: an earlier run may have been killed behind some of that.
            duplicates = rows - sum(file.rows for file in files)
            counts = DayCounts(day=day, before=before, came=rows, duplicates=duplicates, files=files)
            self._put(noted, msgspec.json.encode(counts))
        # An earlier run may have been killed here: it has moved some of them.
        target.mkdir(exist_ok=True)
        for file, name in new.items():
            if file.exists():
                place(file, target / name)
        return counts

    def _file_name(self, part: LogPart, file: Path) -> str:
        """The same for the same rows."""
        return f"{part.name}-{self._chosen_digest}-{file.suffixes[-2].lstrip('.')}.parquet"

    def _keep_broken_lines(self, parts: Sequence[LogPart], results: Sequence[PartResult], work: Path, name: str) -> str:
        if not any(result.broken for result in results):
            return ""
        kept = f"_broken/{name}.jsonl"
        unfinished = work / "broken.jsonl"
        with unfinished.open("wb") as file:
            for part in parts:
                with (work / part.name / "broken.jsonl").open("rb") as one:
                    shutil.copyfileobj(one, file)
        place(unfinished, self._directory / kept)
        return kept

    def _put(self, target: Path, content: bytes) -> None:
        unfinished = self._directory / "_work" / "put.tmp"
        unfinished.write_bytes(content)
        place(unfinished, target)


def _inputs(parts: Sequence[LogPart], results: Sequence[PartResult]) -> list[InputCounts]:
    inputs: dict[Path, InputCounts] = {}
    for part, result in zip(parts, results, strict=True):
        inputs.setdefault(part.path, InputCounts(file=str(part.path))).add(part, result)
    return list(inputs.values())


def _read_counts(noted: Path) -> DayCounts | None:
    try:
        return msgspec.json.decode(noted.read_bytes(), type=DayCounts)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


# In a process that reads: how many bytes all of them have read.
_consumed: Synchronized[int] | None = None


def _begin(consumed: Any) -> None:
    global _consumed  # noqa: PLW0603 - how a pool's processes are given anything
    _consumed = consumed
    # Rows are many and refer to nothing: looking at all of them again and again takes a fifth of the time.
    gc.disable()
    # Arrow's own gives pages back to the system and asks for them again: a tenth of the time.
    pa.set_memory_pool(pa.system_memory_pool())


def _read_part(part: LogPart, directory: Path, chosen: Chosen) -> PartResult:
    def consume(count: int) -> None:
        assert _consumed is not None
        with _consumed.get_lock():
            _consumed.value += count

    return read_part(part, directory, chosen, consume)
