"""DayExport: logs become rows, day by day, each event once. Done again it changes nothing.

What is under way stands in the target's ``work``: an export that was killed goes on from there.
"""

from __future__ import annotations

import gc
import hashlib
import multiprocessing
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import suppress
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
import pyarrow as pa

from dispatcher.errors import DispatcherError
from dispatcher.exports.day_files import DayCounts
from dispatcher.exports.log_parts import PART_BYTES, LogPart, split_log
from dispatcher.exports.manifest import InputCounts, Manifest, events_of
from dispatcher.exports.part_reading import Chosen, PartResult, files_of, read_part, read_result
from dispatcher.exports.pseudonyms import Pseudonyms
from dispatcher.exports.target import Target
from dispatcher.suppression.suppression_list import SuppressionList
from dispatcher.version import __version__

if TYPE_CHECKING:
    from dispatcher.exports.bucket.log_object import LogObject

# Seconds between two looks at how far the processes are.
_LOOK_SECONDS: Final = 0.2
_NAME_CHARACTERS: Final = 16
_CHOSEN_CHARACTERS: Final = 4

#: Told how much is done: what is being done, and how many bytes or days of how many.
Watcher = Callable[[str, int, int], None]


class NewFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of rows of one day, sorted, that was read from one part.

    Args:
        path: Where it is, in the target's ``work``.
        name: What it is called: the same for the same rows.
    """

    path: Path
    name: str


class Days(Protocol):
    """Where a day's rows go.

    Attributes:
        format: As the manifest has it.
    """

    format: str

    def write(self, day: str, new: Sequence[NewFile], rows: int, notes: Path) -> DayCounts:
        """Add the events of one day that are not there yet, all at once or file by file. Done again, nothing changes.

        Args:
            day: As YYYY-MM-DD.
            new: The files. An earlier run, which was killed, may have moved some of them.
            rows: How many rows were read for the day.
            notes: A file for what a run that goes on has to know.
        """
        ...


class DayExport:
    """One export. Call ``run`` once.

    Args:
        logs: The tracking logs, each once.
        target: Where manifests and broken lines go, and where is noted what was read.
        days: Where the rows go.
        chosen: Which events are wanted.
        processes: How many read at a time.
        again: Read too what an earlier export has read. Events that are there are not added again.
        part_bytes: Bytes of a plain log that one process reads at a time.
        suppressed: Who is to be forgotten; None: nobody.
        pseudonyms: What people are called; None: as in the logs.
        delivered: What the ledger has of the tracking log among the logs, for the manifest; None where nobody knows.
    """

    def __init__(
        self,
        logs: Sequence[Path | LogObject],
        target: Target,
        days: Days,
        chosen: Chosen,
        *,
        processes: int,
        again: bool = False,
        part_bytes: int = PART_BYTES,
        suppressed: SuppressionList | None = None,
        pseudonyms: Pseudonyms | None = None,
        delivered: int | None = None,
    ) -> None:
        self._logs = logs
        self._target = target
        self._days = days
        self._chosen = chosen
        self._pseudonyms = pseudonyms
        key = b"" if pseudonyms is None else pseudonyms.fingerprint.encode()
        self._chosen_digest = hashlib.sha256(msgspec.json.encode(chosen) + key).hexdigest()[:_CHOSEN_CHARACTERS]
        self._processes = processes
        self._again = again
        self._part_bytes = part_bytes
        self._suppressed = suppressed
        self._delivered = delivered

    def run(self, watch: Watcher) -> Manifest:
        """Export. Blocks for some seconds for a million lines, and starts processes.

        Returns:
            What was done, as it stands in the target's ``_manifests``.

        Raises:
            DispatcherError: A log cannot be opened or is another one now, the disk is full, a bucket does not answer,
                or another export writes to the target. What is whole stays, and another run goes on from there.
        """
        try:
            with self._target.held():
                self._keep_to_pseudonyms()
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
        exported = set() if self._again else self._target.names("_exported")
        parts = [part for part in reversed(found.values()) if self._mark(part.name) not in exported]
        name = self._name(parts)
        # By names of their own: a run that goes on may have more logs than the one that was killed.
        read = {part.name: self._target.work / "parts" / f"{part.name}-{self._chosen_digest}" for part in parts}
        results = self._read(parts, read, watch)
        notes = self._target.work / name
        notes.mkdir(parents=True, exist_ok=True)
        days = sorted({day for result in results for day in result.days})
        counts = []
        for number, day in enumerate(days):
            watch("writing days", number, len(days))
            rows = sum(result.days.get(day, 0) for result in results)
            new = [
                NewFile(path=path, name=self._file_name(part, path))
                for part in parts
                for path in files_of(read[part.name], day)
            ]
            counts.append(self._days.write(day, new, rows, notes / f"{day}.json"))
        manifest = Manifest(
            format=self._days.format,
            version=__version__,
            earlier_bytes=sum(part.end - part.start for part in every_part if part.name not in read),
            earlier_events=self._count_earlier(set(found) - set(read)) if self._delivered is not None else 0,
            delivered=self._delivered,
            inputs=_inputs(parts, results),
            days=counts,
            broken_lines=self._keep_broken_lines(read, results, name),
        )
        self._target.put(f"_manifests/{name}.json", manifest.to_json().encode())
        for part, result in zip(parts, results, strict=True):
            if not result.ended:
                self._target.put(f"_exported/{self._mark(part.name)}", msgspec.json.encode(result))
        for finished in (notes, *read.values()):
            shutil.rmtree(finished, ignore_errors=True)
        # Where a run that was killed has left other parts, which the next one may want, it stays.
        with suppress(OSError):
            (self._target.work / "parts").rmdir()
        return manifest

    def _keep_to_pseudonyms(self) -> None:
        """Have people called in one way in a target, or one row would say what the pseudonym of another hides."""
        known = self._target.names("_pseudonyms")
        wanted = set() if self._pseudonyms is None else {self._pseudonyms.fingerprint}
        if known != wanted and (known or self._target.names("_exported")):
            how = "with pseudonyms of another key" if known and wanted else "with" if known else "without"
            raise DispatcherError(
                f"{self._target} was written {how}{'' if known and wanted else ' pseudonyms'}: export to another one"
            )
        for fingerprint in wanted - known:
            self._target.put(f"_pseudonyms/{fingerprint}", b"")

    def _mark(self, part_name: str) -> str:
        """The name of the file that says that all of a part's events are there."""
        return f"{part_name}-{self._chosen_digest}.json"

    def _count_earlier(self, part_names: set[str]) -> int:
        """The events of parts that an earlier export has read."""
        count = 0
        for name in part_names:
            with self._target.open(f"_exported/{self._mark(name)}") as file:
                count += events_of(msgspec.json.decode(file.read(), type=PartResult))
        return count

    def _name(self, parts: Sequence[LogPart]) -> str:
        """The same for the same export."""
        what = [self._chosen, self._chosen_digest, __version__, [(str(part.path), part.name) for part in parts]]
        return hashlib.sha256(msgspec.json.encode(what)).hexdigest()[:_NAME_CHARACTERS]

    def _read(self, parts: Sequence[LogPart], read: Mapping[str, Path], watch: Watcher) -> list[PartResult]:
        """Read what no earlier run has read, in as many processes as there may be."""
        total = sum(part.end - part.start for part in parts)
        results = [read_result(read[part.name]) for part in parts]
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

                results[number] = read_part(
                    part, read[part.name], self._chosen, consume, self._suppressed, self._pseudonyms
                )
        elif missing:
            jobs = [(number, parts[number], read[parts[number].name]) for number in missing]
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
                pool.submit(_read_part, part, directory, self._chosen, self._suppressed, self._pseudonyms): number
                for number, part, directory in jobs
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

    def _keep_broken_lines(self, read: Mapping[str, Path], results: Sequence[PartResult], name: str) -> str:
        if not any(result.broken for result in results):
            return ""
        kept = f"_broken/{name}.jsonl"
        unfinished = self._target.work / name / "broken.jsonl"
        with unfinished.open("wb") as file:
            for directory in read.values():
                with (directory / "broken.jsonl").open("rb") as one:
                    shutil.copyfileobj(one, file)
        self._target.place(unfinished, kept)
        return kept

    def _file_name(self, part: LogPart, file: Path) -> str:
        return f"{part.name}-{self._chosen_digest}-{file.suffixes[-2].lstrip('.')}.parquet"


def _inputs(parts: Sequence[LogPart], results: Sequence[PartResult]) -> list[InputCounts]:
    inputs: dict[Path | LogObject, InputCounts] = {}
    for part, result in zip(parts, results, strict=True):
        inputs.setdefault(part.path, InputCounts(file=str(part.path))).add(part, result)
    return list(inputs.values())


# In a process that reads: how many bytes all of them have read.
_consumed: Synchronized[int] | None = None


def _begin(consumed: Any) -> None:
    global _consumed  # noqa: PLW0603 - how a pool's processes are given anything
    _consumed = consumed
    # Rows are many and refer to nothing: looking at all of them again and again takes a fifth of the time.
    gc.disable()
    # Arrow's own gives pages back to the system and asks for them again: a tenth of the time.
    pa.set_memory_pool(pa.system_memory_pool())


def _read_part(
    part: LogPart, directory: Path, chosen: Chosen, suppressed: SuppressionList | None, pseudonyms: Pseudonyms | None
) -> PartResult:
    def consume(count: int) -> None:
        assert _consumed is not None
        with _consumed.get_lock():
            _consumed.value += count

    return read_part(part, directory, chosen, consume, suppressed, pseudonyms)
