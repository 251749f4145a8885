"""Export summary: what an export has read and written, for a terminal and as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from dispatcher.edx_log.record import LINE_PROBLEMS, LineProblem
from dispatcher.monitoring.units import count_text
from dispatcher.secrecy.terminal import Console

if TYPE_CHECKING:
    from dispatcher.exports.day_export import DayExport
    from dispatcher.exports.manifest import Manifest
    from dispatcher.exports.research_package.export import PackageManifest

# What is left out, for a person.
_LEFT_OUT = {
    "empty": "empty lines",
    "unfinished": "a last line without its end, which the next export reads again",
    "not_chosen": "outside of --since and --until",
    "forgotten": "of people who were forgotten",
}


def export_progress() -> Progress:
    """A bar on standard error that disappears at its end."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    # Elsewhere than on a terminal it would leave an empty line.
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def run_export(process: DayExport, target: str, *, as_json: bool) -> NoReturn:
    """Run an export of rows with a bar, print what became of each line, and end the command."""
    with export_progress() as progress:
        task = progress.add_task("reading", total=None)
        manifest = process.run(
            lambda what, done, total: progress.update(task, description=what, completed=done, total=total)
        )
    if as_json:
        click.echo(manifest.to_json())
    else:
        print_summary(manifest, target)
    raise SystemExit(1 if any(log.ended for log in manifest.inputs) else 0)


def print_summary(manifest: Manifest, target: str) -> None:
    """Print what became of each line."""
    logs = count_text(len(manifest.inputs), "log")
    click.echo(f"{manifest.lines:>14,}  lines of {logs}")
    click.echo(
        f"{manifest.added:>14,}  events added, in {count_text(sum(bool(day.files) for day in manifest.days), 'day')}"
    )
    if manifest.duplicates:
        click.echo(f"{manifest.duplicates:>14,}  were there already, or came twice")
    for reason, count in manifest.left_out.items():
        click.echo(f"{count:>14,}  left out: {_LEFT_OUT[reason]}")
    for problem, count in manifest.broken.items():
        click.echo(f"{count:>14,}  broken, {problem}: {LINE_PROBLEMS[_known(problem)]}")
    if manifest.earlier_bytes:
        click.echo(f"{manifest.earlier_bytes:>14,}  bytes were exported before, and were not read: --again reads them")
    if manifest.delivered is not None:
        click.echo(_against_ledger(manifest.delivered, manifest.events))
    if manifest.broken_lines:
        click.echo(f"broken lines: {target}/{manifest.broken_lines}")
    for log in manifest.inputs:
        if log.ended:
            click.echo(f"{log.file} cannot be read on behind line {log.lines:,}: {log.ended}", err=True)


def _against_ledger(delivered: int, events: int) -> str:
    ledger = f"the ledger has {count_text(delivered, 'event')} as delivered to this tracking log"
    if delivered == events:
        return f"{ledger}: as many as these logs have"
    if delivered > events:
        return f"{ledger}: {delivered - events:,} more than these logs have. Add rotated logs, and those of other hosts"
    return f"{ledger}: {events - delivered:,} fewer than these logs have, which are older than it or have other writers"


# Why a line is in no package, for a person.
_DROPPED = {
    "empty": "empty lines",
    "unparseable": "not a JSON object from their first to their last brace",
    "too_long": LINE_PROBLEMS["too_long"],
    "no_time": "without a day",
    "outside": "outside of the days that were asked for",
    "host": "of a host that is excluded",
    "organisation": "of no partner's organisation",
    "not_for_export": "not for export, as their payload says",
    "course": "of another course, or of none",
    "duplicate": "there already, to the byte",
    "forgotten": _LEFT_OUT["forgotten"],
}


def print_package_summary(manifest: PackageManifest, directory: Path) -> None:
    """Print what became of each line, and how many files there are now."""
    click.echo(f"{manifest.lines:>14,}  lines")
    click.echo(f"{manifest.chosen:>14,}  in {count_text(len(manifest.files), 'file')}")
    for reason, count in manifest.dropped.items():
        click.echo(f"{count:>14,}  left out, {reason}: {_DROPPED[reason]}")
    click.echo(f"manifest: {directory / '_MANIFEST.json'}")
    for log, why in manifest.ended.items():
        click.echo(f"{log} cannot be read to its end: {why}", err=True)


def _known(problem: str) -> LineProblem:
    return next(known for known in LINE_PROBLEMS if known == problem)
