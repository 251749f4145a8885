"""``dispatcher explain NAME``: where an event goes, why, which file says so, and what each destination would get."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console

from dispatcher.cli.input.event_file import Given, GivenFile, read_given
from dispatcher.cli.output.explanation import print_explained
from dispatcher.config import read
from dispatcher.destinations.options import check_options
from dispatcher.destinations.preview import Previewer
from dispatcher.emit import processors
from dispatcher.emit.encoding import EventEncoder
from dispatcher.errors import SettingsError
from dispatcher.routing import Router

if TYPE_CHECKING:
    from dispatcher.config import Reading, Settings
    from dispatcher.config.variables import KeyPath
    from dispatcher.event import Event, EventType
    from dispatcher.routing import Explanation

#: An event goes nowhere.
_NOWHERE: Final = 1

# Reasons that ``--all`` looks past: those that a list decides. What is switched off may lack options, and what only
# Segment takes has no meaning elsewhere.
_BY_LIST: Final = frozenset({"not_on_allowlist", "excluded", "internal"})
# Shown without ``--all``: it is on the list, and waits for the browser.
_BROWSER: Final = "browser"


@click.command()
@click.argument("name", required=False)
@click.option(
    "--with",
    "source",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    help="A file with a whole event as JSON (name, data, context, timestamp, id), with several as JSON lines, or with "
    "only the data of the event NAME; - is standard input.",
)
@click.option("--destination", "only", multiple=True, metavar="NAME", help="Only this one. May be given several times.")
@click.option("--all", "everything", is_flag=True, help="Also what destinations would get that do not take the event.")
@click.option("--now", "happens_now", is_flag=True, help="As if they happened now: vendors refuse what is old.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain(
    name: str | None,
    source: str | None,
    only: tuple[str, ...],
    everything: bool,
    happens_now: bool,
    as_json: bool,
) -> None:
    """Say where events called NAME go and why; --with shows what each destination would get. Nothing is sent.

    \b
    Examples:
      dispatcher explain edx.course.enrollment.activated
      DISPATCHER_ENV=production dispatcher explain shop.order.paid --json
      dispatcher explain --with event.json
      echo '{"order": 17}' | dispatcher explain shop.order.paid --with - --destination webhook
      dispatcher explain --with recorded.jsonl --now --all --json

    Credentials are masked, personal data is not. Processors run, as in emit.

    Exit code 1 when an event goes nowhere; with --with, also when everything that it goes to would refuse it or leave
    it out.
    """
    if source is None and name is None:
        raise click.UsageError("give the NAME of an event, or --with FILE")
    if source is None and (everything or happens_now):
        raise click.UsageError(f"{'--all' if everything else '--now'} needs --with")
    reading = read()
    chosen = _chosen(only, reading.settings)
    if source is None:
        assert name is not None
        explained = [_Explainer(reading, chosen).of_name(name)]
        several = False
    else:
        given = _given(source, name, reading.settings, happens_now=happens_now)
        explained = list(_of_events(given.events, reading, chosen, everything=everything))
        several = given.several
    if as_json:
        click.echo(json.dumps(explained if several else explained[0], indent=2))
    else:
        console = Console(highlight=False)
        for one_explained in explained:
            print_explained(console, one_explained)
    sys.exit(0 if all(_arrives(one_explained) for one_explained in explained) else _NOWHERE)


def _chosen(only: tuple[str, ...], settings: Settings) -> frozenset[str]:
    for name in only:
        if name not in settings.destinations:
            known = ", ".join(settings.destinations) or "none"
            raise click.BadParameter(f"{name!r} is not configured; there are: {known}", param_hint="--destination")
    return frozenset(only or settings.destinations)


def _given(source: str, name: str | None, settings: Settings, *, happens_now: bool) -> GivenFile:
    loaded = processors.load(settings.processors)
    encoder = EventEncoder(max_bytes=settings.outbox.max_event_bytes, processors=loaded)
    is_stdin = source == "-"
    where = "standard input" if is_stdin else source
    content = sys.stdin.buffer.read() if is_stdin else Path(source).read_bytes()
    try:
        return read_given(where, content, name, encoder, happens_now=happens_now)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--with") from error


def _of_events(
    events: tuple[Given, ...], reading: Reading, chosen: frozenset[str], *, everything: bool
) -> Iterator[dict[str, Any]]:
    tables = {name: table for name, table in reading.settings.destinations.items() if name in chosen}
    # Of the chosen ones only: what is wrong elsewhere is not asked about.
    problems = check_options(reading.settings.model_copy(update={"destinations": tables}), reading.source)
    if problems:
        raise SettingsError(problems)
    explainer = _Explainer(reading, chosen)
    with Previewer(tables) as previewer:
        for given in events:
            yield explainer.of_event(given, previewer, everything=everything)


def _arrives(explained: dict[str, Any]) -> bool:
    return any(row["goes"] and "outcome" not in row.get("preview", {}) for row in explained["destinations"])


class _Explainer:
    """Puts together what is said of an event, fit for ``json.dumps``."""

    def __init__(self, reading: Reading, chosen: frozenset[str]) -> None:
        self._reading = reading
        self._chosen = chosen
        self._router = Router(reading.settings)

    def of_name(self, name: str) -> dict[str, Any]:
        """Where events of a name go."""
        return {"name": name, "internal": self._router.is_internal(name), "destinations": self._rows(name, "event")}

    def of_event(self, given: Given, previewer: Previewer, *, everything: bool) -> dict[str, Any]:
        """Where one event goes, and what would become of it there."""
        event = given.event
        head = {
            "name": event.name,
            "id": event.id,
            "type": event.type,
            "place": given.place,
            "internal": self._router.is_internal(event.name),
        }
        if given.dropped is not None:
            return {**head, "dropped": given.dropped, "destinations": []}
        rows = self._rows(event.name, event.type)
        shown = {_BROWSER, *(_BY_LIST if everything else ())}
        return {**head, "destinations": [_with_preview(row, event, previewer, shown) for row in rows]}

    def _rows(self, name: str, kind: EventType) -> list[dict[str, Any]]:
        explanations = self._router.explain(name, kind)
        return [self._row(one) for one in explanations if one.destination in self._chosen]

    def _row(self, one: Explanation) -> dict[str, Any]:
        return {
            "destination": one.destination,
            "goes": one.goes,
            "reason": one.reason,
            "why": one.sentence,
            "entry": one.entry,
            "source": self._reading.source(_deciding_setting(one)),
            "nearest": one.nearest,
        }


def _with_preview(row: dict[str, Any], event: Event, previewer: Previewer, shown: set[str]) -> dict[str, Any]:
    if not row["goes"] and row["reason"] not in shown:
        return row
    return {**row, "preview": previewer.preview(row["destination"], event)}


def _deciding_setting(one: Explanation) -> KeyPath:
    """The setting to change for another answer."""
    setting = {"disabled": "enabled", "internal": "internal"}.get(one.reason or "", "events")
    return "destinations", one.destination, setting
