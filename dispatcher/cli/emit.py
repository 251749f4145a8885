"""``dispatcher emit``: emit one event, or a file of recorded ones."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

import click

from dispatcher import tracker
from dispatcher.cli.input.event_file import BadRecord, EventFile, RecordedEvent
from dispatcher.cli.output.file_progress import file_progress
from dispatcher.cli.output.remedy import settings_note
from dispatcher.edx_log.source import Source
from dispatcher.emit.diagnosis import kind_of
from dispatcher.errors import InvalidEventError, OutboxError, OutboxFullError, SettingsError
from dispatcher.monitoring.units import count_text

# Lines whose errors are printed; further ones are only counted.
_MAX_LINE_ERRORS: Final = 20
# Lines after which the progress is drawn anew.
_PROGRESS_LINES: Final = 500
# Seconds for which the relay may empty a full outbox.
_FULL_SECONDS: Final = 30.0


@click.command()
@click.argument("name", required=False)
@click.option("--data", help="The event's data as a JSON object; - reads it from standard input.")
@click.option("--context", "context_json", help="The event's context as a JSON object.")
@click.option(
    "--from",
    "source",
    type=click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True, path_type=Path),
    help="A file of events as JSON lines, each with its own name, data, context, timestamp, id and type; plain or "
    "compressed with gzip; - is standard input. Lines of a tracking log are for `dispatcher replay`.",
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
      grep '"shop.order.paid"' recorded.jsonl | dispatcher emit --from -

    A line that is not an event is named, and the others are emitted all the same. `explain --with` reads
    the same files, and shows what each destination would get.

    Exit code 0 if all events were taken, 1 if some were not. Events stay in the outbox while Redis is away.
    """
    if (name is None) == (source is None):
        raise click.UsageError("give either the NAME of an event or --from FILE")
    # Who makes a mistake here should see it, rather than find it among the dead letters.
    if tracker.configure(strict=True).outbox.storage == "memory":
        raise SettingsError(
            ['outbox.storage is "memory", as for tests: the event would be lost. Unset DISPATCHER_OUTBOX__STORAGE']
        )
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
        raise click.BadParameter(f"it is not JSON: {error}", param_hint=option) from error
    if not isinstance(value, dict):
        raise click.BadParameter(f"it must be a JSON object, not {kind_of(value)}", param_hint=option)
    return value


def _emit_file(path: Path, *, timeout: float, as_json: bool) -> None:
    emitted = failed = 0
    source = Source(path)
    with source, file_progress() as progress:
        task = progress.add_task(source.name, total=source.size, events=0)
        for record in EventFile(source):
            try:
                _emit_record(record)
                emitted += 1
            except OutboxError as error:
                failed += 1
                message = f"{record.place}: {error}. Neither this event nor what follows it was emitted"
                progress.console.print(message, markup=False, highlight=False, soft_wrap=True)
                break
            except InvalidEventError as error:
                failed += 1
                if failed <= _MAX_LINE_ERRORS:
                    place = "" if isinstance(record, BadRecord) else f"{record.place}: "
                    progress.console.print(f"{place}{error}", markup=False, highlight=False, soft_wrap=True)
            if (emitted + failed) % _PROGRESS_LINES == 0:
                progress.update(task, completed=source.consumed, events=emitted)
    if failed > _MAX_LINE_ERRORS:
        click.echo(f"and {count_text(failed - _MAX_LINE_ERRORS, 'more line')} could not be emitted", err=True)
    put = tracker.flush(timeout)
    if not put:
        click.echo(settings_note(), err=True)
    if as_json:
        click.echo(json.dumps({"emitted": emitted, "failed": failed, "put": put}))
    else:
        where = "in the batch store" if put else "in the outbox, since Redis did not answer"
        click.echo(
            f"emitted: {count_text(emitted, 'event')}, now {where}; could not be emitted: {count_text(failed, 'line')}"
        )
    raise SystemExit(1 if failed else 0)


def _emit_record(record: RecordedEvent | BadRecord) -> None:
    """Emit one event of a file. Blocks while the outbox is full and the relay still empties it.

    Raises:
        InvalidEventError: It is not an event, or cannot be taken.
        OutboxError: The outbox cannot be written, or stays full.
    """
    if isinstance(record, BadRecord):
        raise InvalidEventError(str(record), event_name="")
    own = tracker.get_tracker()

    def submit() -> str:
        context = {} if record.context is None else record.context
        return own.submit(
            record.type, record.name, record.data, timestamp=record.timestamp, context=context, event_id=record.id
        )

    try:
        submit()
    except OutboxFullError:
        own.flush(_FULL_SECONDS)
        submit()
