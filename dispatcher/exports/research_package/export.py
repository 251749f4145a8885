"""ResearchPackage: tracking logs become files for partners, one for each partner and day, or for each course and day.

A day's file is whole or not there. Days are written some at a time, since each file that is open has a gpg of its own.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from dispatcher.edx_log.record import BrokenLineError, json_of
from dispatcher.edx_log.source import READ_ERRORS
from dispatcher.errors import DispatcherError
from dispatcher.exports.log_parts import LogPart, read_blocks, split_log
from dispatcher.exports.research_package.gnupg import PublicKey
from dispatcher.exports.research_package.package_file import FileCounts, PackageFile
from dispatcher.exports.research_package.rules import Rules, RulesName, course_key_of, parse
from dispatcher.exports.target import held
from dispatcher.outcomes import FORGOTTEN
from dispatcher.suppression.forgotten_lines import ForgottenLines
from dispatcher.version import __version__

if TYPE_CHECKING:
    from dispatcher.exports.bucket.log_object import LogObject

# Files that are open at a time. A gpg takes 5 MB.
_MAX_FILES: Final = 100
_ID_BYTES: Final = 12

By = Literal["organisation", "course"]
#: Told how many bytes of how many are read.
Watcher = Callable[[int, int], None]


class PackageManifest(msgspec.Struct, kw_only=True):
    """What an export has read and written. Each line is in one count of ``dropped``, or in ``chosen``.

    Args:
        lines: Lines read.
        chosen: Lines that are in a package or more.
        dropped: The others, by reason.
        files: What was written. A line may be in more than one, where it is of several partners.
        ended: Logs that could not be read on, with the reason.
        rules: By which rules.
        by: Whether by organisation or by course.
        version: The release that wrote it.
    """

    rules: RulesName
    by: By
    version: str = __version__
    lines: int = 0
    chosen: int = 0
    dropped: dict[str, int] = msgspec.field(default_factory=dict)
    files: list[FileCounts] = msgspec.field(default_factory=list)
    ended: dict[str, str] = msgspec.field(default_factory=dict)

    @property
    def difference(self) -> int:
        """Lines read less what became of them: 0, or a mistake of this package's."""
        return self.lines - self.chosen - sum(self.dropped.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagePlan:
    """What is wanted.

    Args:
        rules: Which line is for whom.
        rules_name: Their name.
        site: The site's word in names of files.
        keys: Of each partner, who can read its files; without any its files are not encrypted.
        by: A file for each partner and day, or for each course and day. Those are not encrypted.
        forgotten: The lines that are for nobody, since somebody is to be forgotten.
    """

    rules: Rules
    rules_name: RulesName
    site: str
    keys: Mapping[str, Sequence[PublicKey]] = field(default_factory=dict)
    by: By = "organisation"
    forgotten: ForgottenLines = field(default_factory=lambda: ForgottenLines(None))


class ResearchPackage:
    """One export. Call ``run`` once.

    Args:
        logs: The tracking logs, in the order in which their lines go into the files.
        directory: Where the files go.
        plan: What is wanted.
        max_files: How many files are written at a time.
    """

    def __init__(
        self, logs: Sequence[Path | LogObject], directory: Path, plan: PackagePlan, *, max_files: int = _MAX_FILES
    ) -> None:
        self._parts = [part for log in logs for part in split_log(log)]
        self._directory = directory
        self._plan = plan
        self._max_files = max_files
        self._is_edx = plan.rules_name == "edx"

    def run(self, watch: Watcher) -> PackageManifest:
        """Export. Blocks for some minutes for ten million lines.

        Raises:
            DispatcherError: gpg failed, a log is another one now, the disk is full, or another export writes to the
                directory. The files that have their names are whole.
        """
        manifest = PackageManifest(rules=self._plan.rules_name, by=self._plan.by)
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with held(self._directory):
                work = self._directory / "_work" / "package"
                later: set[str] | None = None
                try:
                    while later is None or later:
                        shutil.rmtree(work, ignore_errors=True)
                        work.mkdir()
                        one = _Pass(self._plan, self._directory, work, manifest, later, self._max_files)
                        later = one.run(self._parts, watch)
                finally:
                    shutil.rmtree(work, ignore_errors=True)
                self._write_manifest(manifest)
        except OSError as error:
            raise DispatcherError(f"the export has ended: {error}. Files that have their names are whole") from error
        return manifest

    def _write_manifest(self, manifest: PackageManifest) -> None:
        manifest.files.sort(key=lambda file: file.file)
        unfinished = self._directory / "_work" / "manifest"
        unfinished.write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
        unfinished.rename(self._directory / "_MANIFEST.json")


class _Pass:
    """Reads all logs once, and writes the files of as many days as may be open.

    Args:
        only: The days that are left from an earlier pass; None in the first one, which alone counts.
    """

    def __init__(
        self,
        plan: PackagePlan,
        directory: Path,
        work: Path,
        manifest: PackageManifest,
        only: set[str] | None,
        max_files: int,
    ) -> None:
        self._plan = plan
        self._directory = directory
        self._work = work
        self._manifest = manifest
        self._only = only
        self._max_files = max_files
        self._later: set[str] = set()
        # By day, then by name within the directory.
        self._files: dict[str, dict[str, PackageFile]] = {}
        self._seen: dict[str, set[bytes]] = {}
        self._stack = ExitStack()

    def run(self, parts: Sequence[LogPart], watch: Watcher) -> set[str]:
        """Read. Returns the days that did not fit, and so are for the next pass."""
        total, done = sum(part.end - part.start for part in parts), 0
        dropped: Counter[str] = Counter()
        with self._stack:
            for part in parts:
                for lines, consumed in self._lines_of(part):
                    watch(done + consumed, total)
                    for line in lines:
                        reason = "too_long" if line is None else self._take(line)
                        if reason is not None:
                            dropped[reason] += 1
                done += part.end - part.start
            for files in self._files.values():
                for name, file in files.items():
                    self._manifest.files.append(file.finish(self._directory / name, name))
        if self._only is None:
            self._manifest.dropped = dict(sorted(dropped.items()))
            self._manifest.chosen = self._manifest.lines - dropped.total()
        return self._later

    def _lines_of(self, part: LogPart) -> Iterator[tuple[Sequence[bytes | None], int]]:
        blocks = read_blocks(part)
        while True:
            try:
                block = next(blocks, None)
            except READ_ERRORS as error:
                self._manifest.ended[str(part.path)] = str(error) or type(error).__name__
                return
            if block is None:
                return
            if self._only is None:
                self._manifest.lines += len(block.lines)
            yield block.lines, block.consumed

    def _take(self, line: bytes) -> str | None:
        """Write a line into its files. Returns why it goes into none."""
        plan = self._plan
        line = line.strip()
        if not line:
            return "empty"
        if plan.forgotten.has(line):
            return FORGOTTEN
        if plan.by == "course":
            day, names, dropped = self._by_course(line)
        else:
            decision = plan.rules.decide(line)
            day, dropped = decision.date, decision.dropped
            names = {_organisation_file(partner, plan.site, day): partner for partner in decision.partners}
        if dropped is not None:
            return dropped
        is_edx = plan.rules_name == "edx"
        if not is_edx and self._is_repeated(day, line):
            return "duplicate"
        if day in self._later or (self._only is not None and day not in self._only):
            return None
        for name, partner in names.items():
            file = self._open(day, name, plan.keys.get(partner, ()))
            if file is None:
                break
            file.add(line if is_edx else json_of(line))
        return None

    def _by_course(self, line: bytes) -> tuple[str, dict[str, str], str | None]:
        record = parse(line)
        if record is None:
            return "", {}, "unparseable"
        day, dropped = self._plan.rules.find_day(record)
        key = course_key_of(record)
        if dropped is None and key is None:
            dropped = "course"
        if dropped is not None or key is None:
            return day, {}, dropped
        course = key.file_name if self._plan.rules_name == "edx" else key.own_file_name
        return day, {f"{course}/events/{course}-events-{day}.log.gz": ""}, None

    def _is_repeated(self, day: str, line: bytes) -> bool:
        """Whether the day has the line already: the same to the byte, as of two logs that overlap."""
        seen = self._seen.setdefault(day, set())
        digest = _digest(line)
        if digest in seen:
            return True
        seen.add(digest)
        return False

    def _open(self, day: str, name: str, keys: Sequence[PublicKey]) -> PackageFile | None:
        """The file of that name. None where its day has to wait for the next pass."""
        of_day = self._files.setdefault(day, {})
        name = name + ".gpg" if keys else name
        file = of_day.get(name)
        if file is None:
            if sum(map(len, self._files.values())) >= self._max_files and len(self._files) > 1:
                latest = max(self._files)
                for one in self._files.pop(latest).values():
                    one.close()
                self._later.add(latest)
                if latest == day:
                    return None
                of_day = self._files[day]
            file = of_day[name] = PackageFile(self._work / name.replace("/", "%"), keys)
            self._stack.callback(file.close)
        return file


def _organisation_file(partner: str, site: str, day: str) -> str:
    name = partner.lower()
    return f"{name}/{site}/events/{day[:4]}/{name}-{site}-events-{day}.log.gz"


def _digest(line: bytes) -> bytes:
    with suppress(BrokenLineError):
        line = json_of(line)
    return blake2b(line, digest_size=_ID_BYTES).digest()
