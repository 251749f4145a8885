"""Export: what it takes to read a tracking log into Parquet files, and how event-routing-backends reads one.

Theirs is fetched by `make lrs`. It only reads: what it makes of a line is counted and thrown away. It ends at bytes
that are not UTF-8, so its log has none.
"""

from __future__ import annotations

import gzip
import resource
import shutil
from collections.abc import Callable, Iterator
from typing import Any, Final

from tests.benchmarks.cpu import cpu_seconds
from tests.benchmarks.log_file import write_log
from tests.benchmarks.place import Place
from tests.benchmarks.step import Plan, Result, Step
from tests.support.processes import ROOT

_THEIRS: Final = ROOT / ".venvs" / "event-routing-backends"
_THEIRS_PACKAGE: Final = "event_routing_backends"
# Of ours' lines: theirs takes ten times as long for each.
_THEIR_FRACTION: Final = 10
_CASES: Final = {"clean": False, "with prefixes and broken lines": True}


def steps(plan: Plan) -> Iterator[Step]:
    """Clean and dirty, plain and packed, in one process and in two; theirs with both."""
    for case, dirty in _CASES.items():
        for more, processes, packed in (("", 1, False), (", gzip", 1, True), (", 2 processes", 2, False)):
            yield Step(
                measurement="export",
                subject="ours",
                case=case + more,
                measure=measure_ours,
                arguments={"lines": plan.export_lines, "dirty": dirty, "processes": processes, "packed": packed},
                timeout_seconds=3_600,
            )
        yield Step(
            measurement="export",
            subject=_THEIRS_PACKAGE,
            case=case,
            measure=measure_theirs,
            arguments={"lines": plan.export_lines // _THEIR_FRACTION, "dirty": dirty},
            environ={"PYTHONPATH": str(_THEIRS)},
            timeout_seconds=3_600,
        )


def measure_ours(place: Place, *, lines: int, dirty: bool, processes: int, packed: bool) -> Result:
    """Lines that a second of CPU reads, sorts and writes, the start of the processes included; memory at most."""
    from dispatcher.exports.parquet import ParquetExport
    from dispatcher.exports.part_reading import Chosen

    log = place.directory / "tracking.log"
    broken = write_log(log, lines, dirty=dirty)
    if packed:
        with log.open("rb") as plain, gzip.open(log.with_suffix(".gz"), "wb", compresslevel=6) as file:
            shutil.copyfileobj(plain, file)
        log = log.with_suffix(".gz")
    before = cpu_seconds()
    export = ParquetExport([log], place.directory / "events", Chosen(), processes=processes)
    manifest = export.run(lambda *_: None)
    seconds = cpu_seconds() - before + _of_children()
    assert (manifest.lines, sum(manifest.broken.values())) == (lines, broken), manifest
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {"lines_per_cpu_second": lines / seconds, "cpu_us_per_line": seconds / lines * 1e6, "peak_mb": peak / 1024}


def _of_children() -> float:
    """Seconds of the processes that have ended, which ``cpu_seconds`` does not see any more."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure_theirs(place: Place, *, lines: int, dirty: bool) -> Result:
    """Lines that a second of CPU reads into dictionaries."""
    transform, parse, driver = _load_theirs()
    directory = place.directory / "logs"
    directory.mkdir()
    write_log(directory / "tracking.log", lines, dirty=dirty, in_utf8=True)
    reader = _Reader(parse)
    before = cpu_seconds()
    transform(driver(str(place.directory)), directory.name, "", reader)
    seconds = cpu_seconds() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert reader.read == lines, reader.read
    return {"lines_per_cpu_second": lines / seconds, "cpu_us_per_line": seconds / lines * 1e6, "peak_mb": peak / 1024}


class _Reader:
    """In the place of what sends: parses each line, as that does first."""

    def __init__(self, parse: Callable[[str], Any]) -> None:
        self._parse = parse
        self.read = 0

    def transform_and_queue(self, line: str) -> None:
        self._parse(line)
        self.read += 1

    def finalize(self) -> None:
        """There is nothing to send."""


def _load_theirs() -> tuple[Callable[..., None], Callable[[str], Any], Callable[[str], Any]]:
    import logging

    import django
    from django.conf import settings

    # It writes what it cannot parse to Django's log.
    logging.disable()
    settings.configure(
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "config_models",
            "event_routing_backends",
        ],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        EVENT_TRACKING_ENABLED=False,
    )
    from event_routing_backends.apps import EventRoutingBackendsConfig

    EventRoutingBackendsConfig.ready = lambda self: None
    django.setup()
    from event_routing_backends.management.commands.helpers.event_log_parser import parse_json_event
    from event_routing_backends.management.commands.transform_tracking_logs import transform_tracking_logs
    from libcloud.storage.drivers.local import LocalStorageDriver

    return transform_tracking_logs, parse_json_event, LocalStorageDriver
