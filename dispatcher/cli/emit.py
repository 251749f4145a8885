"""``dispatcher emit``: emit one event, or a file of recorded ones."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from dispatcher import tracker
from dispatcher.cli.input.times import parse_timestamp
from dispatcher.cli.output.remedy import settings_note
from dispatcher.errors import InvalidEventError

# Lines whose errors are printed; further ones are only counted.
_MAX_LINE_ERRORS = 20


@click.command()
@click.argument("name", required=False)
@click.option("--data", help="The event's data as a JSON object; - reads it from standard input.")
@click.option("--context", "context_json", help="The event's context as a JSON object.")
@click.option(
    "--from",
    "source",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file of events as JSON lines with name, data, context, timestamp and id; each keeps its own.",
)
@click.option("--timeout", type=click.FloatRange(0), default=10.0, show_default=True, help="Seconds to wait for Redis.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def emit(
    name: str | None,
    data: str | None,
    context_json: str | None,
    source: Path | None,
    timeout: float,
    as_json: bool,
) -> None:
    """Emit the event NAME, or with --from every event of a file.

    \b
    Examples:
      dispatcher emit shop.order.paid --data '{"order": 17, "total": 12.5}'
      echo '{"order": 17}' | dispatcher emit shop.order.paid --data -
      dispatcher emit --from recorded.jsonl

    Exit code 0 if all events were taken, 1 if some were not. Events stay in the outbox while Redis is away.
    """
    if (name is None) == (source is None):
        raise click.UsageError("give either the NAME of an event or --from FILE")
    # Who makes a mistake here should see it, rather than find it among the dead letters.
    tracker.configure(strict=True)
    if source is not None:
        _emit_file(source, timeout=timeout, as_json=as_json)
        return
    assert name is not None
    context = _object("--context", context_json) if context_json is not None else None
    text = sys.stdin.read() if data == "-" else data
    try:
        event_id = tracker.get_tracker().submit("event", name, _object("--data", text or "{}"), context=context)
    except InvalidEventError as error:
        raise click.ClickException(str(error)) from error
    put = tracker.flush(timeout)
    click.echo(json.dumps({"id": event_id, "put": put}) if as_json else event_id)
    if not put:
        click.echo("Redis did not answer: the event waits in the outbox, and is delivered later", err=True)
        click.echo(settings_note(), err=True)


def _object(option: str, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"{text[:80]!r} is not JSON: {error}", param_hint=option) from error
    if not isinstance(value, dict):
        raise click.BadParameter(f"it must be a JSON object, not {text[:80]!r}", param_hint=option)
    return value


def _emit_file(source: Path, *, timeout: float, as_json: bool) -> None:
    emitted = failed = 0
    with source.open("rb") as lines, _progress(source) as progress:
        task = progress.add_task(source.name, total=source.stat().st_size)
        for number, line in enumerate(lines, start=1):
            progress.update(task, advance=len(line))
            if not line.strip():
                continue
            try:
                _emit_line(line)
                emitted += 1
            except (ValueError, TypeError) as error:
                failed += 1
                if failed <= _MAX_LINE_ERRORS:
                    progress.console.print(f"{source}:{number}: {error}", markup=False, highlight=False)
    put = tracker.flush(timeout)
    if as_json:
        click.echo(json.dumps({"emitted": emitted, "failed": failed, "put": put}))
    else:
        where = "in the batch store" if put else "in the outbox, since Redis did not answer"
        click.echo(f"{emitted:,} events were emitted and are {where}; {failed:,} lines could not be emitted")
    raise SystemExit(1 if failed else 0)


def _progress(source: Path) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _emit_line(line: bytes) -> None:
    record = json.loads(line)
    if not isinstance(record, dict) or "name" not in record:
        raise ValueError("the line is not a JSON object with a 'name'")
    timestamp = record.get("timestamp", record.get("time"))
    tracker.get_tracker().submit(
        "event",
        record["name"],
        record.get("data"),
        timestamp=None if timestamp is None else parse_timestamp(timestamp),
        context=record.get("context") or {},
        event_id=record.get("id"),
    )
