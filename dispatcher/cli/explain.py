"""``dispatcher explain NAME``: where an event goes, why, which file says so, and what each destination would get."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from dispatcher.cli.input.event_file import BadRecord, EventFile, RecordedEvent
from dispatcher.cli.output.explanation import print_explanation
from dispatcher.config import read
from dispatcher.destinations.options import check_options
from dispatcher.destinations.preview import Previewer
from dispatcher.edx_log.source import Source
from dispatcher.emit import processors
from dispatcher.emit.encoding import EventEncoder, read_context
from dispatcher.emit.ids import IdSource
from dispatcher.errors import DropEvent, InvalidEventError, SettingsError
from dispatcher.event import Event, decode
from dispatcher.outcomes import DISABLED, EXCLUDED, INTERNAL, NOT_ON_ALLOWLIST
from dispatcher.routing import Router
from dispatcher.secrecy.terminal import Console

if TYPE_CHECKING:
    from dispatcher.config import LoadedSettings, Settings
    from dispatcher.config.variables import KeyPath
    from dispatcher.event import EventType
    from dispatcher.routing import Explanation

# The exit code if an event goes nowhere.
_NOWHERE: Final = 1

# Reasons that ``--all`` ignores: those that a list decides. Not "disabled", since options may be missing then; and not
# those of event types that only Segment takes.
_BY_LIST: Final = frozenset({NOT_ON_ALLOWLIST, EXCLUDED, INTERNAL})
# A UUID, as ids of events are, also as others write one.
_ID: Final = re.compile(r"\{?[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}\}?", re.IGNORECASE)


@click.command()
@click.argument("name", required=False)
@click.option(
    "--with",
    "source",
    type=click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True, path_type=Path),
    help="A file with a whole event as JSON (name, data, context, timestamp, id, type), with several as JSON lines, or "
    "with only the data of the event NAME; plain or compressed with gzip; - is standard input.",
)
@click.option("--destination", "only", multiple=True, metavar="NAME", help="Only this one. May be given several times.")
@click.option("--all", "everything", is_flag=True, help="Also for destinations that do not take the event.")
@click.option("--now", "happens_now", is_flag=True, help="As if the events happened now: vendors refuse old ones.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain(
    name: str | None,
    source: Path | None,
    only: tuple[str, ...],
    everything: bool,
    happens_now: bool,
    as_json: bool,
) -> None:
    """Show where events called NAME go and why; --with shows what each destination would get. Nothing is sent.

    \b
    Examples:
      dispatcher explain edx.course.enrollment.activated
      DISPATCHER_ENV=production dispatcher explain shop.order.paid --json
      dispatcher explain --with event.json
      echo '{"order": 17}' | dispatcher explain shop.order.paid --with - --destination webhook
      dispatcher explain --with recorded.jsonl --now --all --json

    Credentials are masked, personal data is not. Processors run, as in emit.

    Exit code 1 if an event goes nowhere; with --with, also if every destination that it goes to would refuse it or
    leave it out.
    """
    if source is None and name is None:
        raise click.UsageError("give the NAME of an event, or --with FILE")
    if source is None and (everything or happens_now):
        raise click.UsageError(f"{'--all' if everything else '--now'} needs --with")
    if name is not None and _ID.fullmatch(name):
        raise click.UsageError(
            f"{name} is the id of one event, and explain takes the name of events: `dispatcher find {name}` shows "
            "where that one went"
        )
    loaded = read()
    chosen = _chosen(only, loaded.settings)
    if source is None:
        assert name is not None
        explanations = [_Explainer(loaded, chosen).explain_name(name)]
        is_list = False
    else:
        events, is_list = _read_file(source, name, loaded.settings, happens_now=happens_now)
        explanations = list(_explain_events(events, loaded, chosen, everything=everything))
    if as_json:
        click.echo(json.dumps(explanations if is_list else explanations[0], indent=2))
    else:
        console = Console(highlight=False)
        for explanation in explanations:
            print_explanation(console, explanation)
    sys.exit(0 if all(_arrives(explanation) for explanation in explanations) else _NOWHERE)


def _chosen(only: tuple[str, ...], settings: Settings) -> frozenset[str]:
    for name in only:
        if name not in settings.destinations:
            known = ", ".join(settings.destinations) or "none"
            # What was typed may be a secret that was meant for another place, so it is not repeated.
            raise click.BadParameter(f"it is not configured; configured are: {known}", param_hint="--destination")
    return frozenset(only or settings.destinations)


@dataclass(frozen=True, slots=True, kw_only=True)
class _FileEvent:
    """One event of a file.

    Args:
        event: As destinations get it, after the processors; as it is in the file if a processor dropped it.
        place: The file, and the line if the file has several.
        dropped: Why a processor dropped it; None if none did.
    """

    event: Event
    place: str
    dropped: str | None = None


def _read_file(
    source: Path, name: str | None, settings: Settings, *, happens_now: bool
) -> tuple[list[_FileEvent], bool]:
    """The events of a file as destinations get them, and whether the file holds several."""
    loaded = processors.load(settings.processors)
    encoder = EventEncoder(max_bytes=settings.outbox.max_event_bytes, processors=loaded)
    ids = IdSource()
    events: list[_FileEvent] = []
    with Source(source) as opened:
        file = EventFile(opened, name)
        for record in file:
            if isinstance(record, BadRecord):
                raise click.BadParameter(str(record), param_hint="--with")
            try:
                events.append(_encode(record, encoder, ids, happens_now=happens_now))
            except InvalidEventError as error:
                raise click.BadParameter(f"{record.place}: {error}", param_hint="--with") from error
    return events, file.is_list


def _encode(record: RecordedEvent, encoder: EventEncoder, ids: IdSource, *, happens_now: bool) -> _FileEvent:
    event = Event(
        id=ids.new() if record.id is None else record.id,
        type=record.type,
        name=record.name,
        timestamp=datetime.now(UTC) if happens_now or record.timestamp is None else record.timestamp,
        data=record.data,
        context={} if record.context is None else record.context,
    )
    bound = read_context(event.name, event.context)
    try:
        payload = encoder.encode(event.id, event.type, event.name, event.data, event.timestamp, bound)
    except DropEvent as drop:
        return _FileEvent(event=event, place=record.place, dropped=str(drop.reason))
    return _FileEvent(event=decode(payload), place=record.place)


def _explain_events(
    events: list[_FileEvent], loaded: LoadedSettings, chosen: frozenset[str], *, everything: bool
) -> Iterator[dict[str, Any]]:
    tables = {name: table for name, table in loaded.settings.destinations.items() if name in chosen}
    # Of the chosen ones only: mistakes elsewhere do not matter here.
    problems = check_options(loaded.settings.model_copy(update={"destinations": tables}), loaded.source)
    if problems:
        raise SettingsError(problems)
    explainer = _Explainer(loaded, chosen)
    with Previewer(tables) as previewer:
        for event in events:
            yield explainer.explain_event(event, previewer, everything=everything)


def _arrives(explanation: dict[str, Any]) -> bool:
    return any(row["goes"] and "outcome" not in row.get("preview", {}) for row in explanation["destinations"])


class _Explainer:
    """Makes explanations of events, for ``json.dumps``."""

    def __init__(self, loaded: LoadedSettings, chosen: frozenset[str]) -> None:
        self._loaded = loaded
        self._chosen = chosen
        self._router = Router(loaded.settings)

    def explain_name(self, name: str) -> dict[str, Any]:
        """Where events with this name go."""
        return {"name": name, "internal": self._router.is_internal(name), "destinations": self._rows(name, "event")}

    def explain_event(self, file_event: _FileEvent, previewer: Previewer, *, everything: bool) -> dict[str, Any]:
        """Where one event goes, and what each destination would get."""
        event = file_event.event
        head = {
            "name": event.name,
            "id": event.id,
            "type": event.type,
            "place": file_event.place,
            "internal": self._router.is_internal(event.name),
        }
        if file_event.dropped is not None:
            return {**head, "dropped": file_event.dropped, "destinations": []}
        rows = self._rows(event.name, event.type)
        shown = set(_BY_LIST if everything else ())
        return {**head, "destinations": [_with_preview(row, event, previewer, shown) for row in rows]}

    def _rows(self, name: str, event_type: EventType) -> list[dict[str, Any]]:
        explanations = self._router.explain(name, event_type)
        return [self._row(explanation) for explanation in explanations if explanation.destination in self._chosen]

    def _row(self, explanation: Explanation) -> dict[str, Any]:
        return {
            "destination": explanation.destination,
            "goes": explanation.goes,
            "reason": explanation.reason,
            "why": explanation.sentence,
            "entry": explanation.entry,
            "source": self._loaded.source(_deciding_setting(explanation)),
            "nearest": explanation.nearest,
        }


def _with_preview(row: dict[str, Any], event: Event, previewer: Previewer, shown: set[str]) -> dict[str, Any]:
    if not row["goes"] and row["reason"] not in shown:
        return row
    return {**row, "preview": previewer.preview(row["destination"], event)}


def _deciding_setting(explanation: Explanation) -> KeyPath:
    """The setting that decides, and would have to change for another answer."""
    setting = {DISABLED: "enabled", INTERNAL: "internal"}.get(explanation.reason or "", "events")
    return "destinations", explanation.destination, setting
