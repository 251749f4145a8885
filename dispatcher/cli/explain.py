"""``dispatcher explain NAME``: where an event of this name goes, why, and which file says so."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dispatcher.config import read
from dispatcher.routing import Router

if TYPE_CHECKING:
    from dispatcher.config import Reading
    from dispatcher.config.layers import KeyPath
    from dispatcher.routing import Explanation

#: The event goes nowhere.
_NOWHERE: Final = 1


@click.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def explain(name: str, as_json: bool) -> None:
    """Say where events called NAME go and why. Exit code 1 when they go nowhere.

    \b
    Examples:
      dispatcher explain edx.course.enrollment.activated
      DISPATCHER_ENV=production dispatcher explain shop.order.paid --json
    """
    reading = read()
    router = Router(reading.settings)
    rows = [_row(one, reading) for one in router.explain(name)]
    internal = router.is_internal(name)
    if as_json:
        click.echo(json.dumps({"name": name, "internal": internal, "destinations": rows}, indent=2))
    else:
        _print(name, internal, rows)
    sys.exit(0 if any(row["goes"] for row in rows) else _NOWHERE)


def _row(one: Explanation, reading: Reading) -> dict[str, Any]:
    return {
        "destination": one.destination,
        "goes": one.goes,
        "reason": one.reason,
        "why": one.sentence,
        "entry": one.entry,
        "source": reading.source(_deciding_setting(one)),
        "nearest": one.nearest,
    }


def _deciding_setting(one: Explanation) -> KeyPath:
    """The setting to change for another answer."""
    setting = {"disabled": "enabled", "internal": "internal"}.get(one.reason or "", "events")
    return "destinations", one.destination, setting


def _print(name: str, internal: bool, rows: list[dict[str, Any]]) -> None:
    console = Console(highlight=False)
    # Text everywhere, since a name or a path with brackets would else be read as markup.
    console.print(Text.assemble((name, "bold"), " is internal (internal_events)" if internal else ""))
    if not rows:
        console.print(Text("No destination is configured."))
        return
    table = Table(box=None, show_header=False, padding=(0, 1))
    for row in rows:
        table.add_row(_answer(row["goes"]), Text(row["destination"], style="bold"), _why(row))
    console.print(table)


def _answer(goes: bool) -> Text:
    return Text("yes", style="green") if goes else Text("no", style="red")


def _why(row: dict[str, Any]) -> Text:
    why = Text(row["why"] if row["entry"] is None else f"{row['why']}: {row['entry']}", overflow="fold")
    if row["nearest"]:
        why.append(f"; did you mean {row['nearest']}?", style="yellow")
    return why if row["source"] == "default" else why.append(f"\n{row['source']}", style="dim")
