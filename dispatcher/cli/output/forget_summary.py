"""Forget summary: where a person was found or taken out, and what is left, for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from dispatcher.monitoring.units import count_text

if TYPE_CHECKING:
    from dispatcher.forgetting.place import Found
    from dispatcher.forgetting.receipt import Receipt


_VERBS: Final = {"deleted": "were taken out", "pseudonymised": "were pseudonymised, or taken out"}


def print_receipt(receipt: Receipt) -> None:
    """Print a receipt: a line for each place that has something, then what is left, then what to do."""
    named = [one for one in receipt.found if one.events]
    for one in named:
        click.echo(f"{one.events:>14,}  {one.place}: {one.where}")
    places = len({one.where for one in receipt.found})
    verb = _VERBS[receipt.how] if receipt.did else "name the person"
    click.echo(f"{receipt.events:>14,}  events {verb}, in {len(named)} of {count_text(places, 'place')}")
    for one in receipt.problems:
        click.echo(f"left: {_describe(one)}", err=True)
    if not receipt.did and receipt.events:
        click.echo("Nothing was changed. Run it again with --do to do it.")
    if receipt.did:
        click.echo(f"The receipt is {receipt.id}.json in the directory forgetting/receipts of the state directory.")
        for text in receipt.beyond:
            click.echo(f"Left to you: {text}")


def _describe(one: Found) -> str:
    why = one.left or f"{count_text(one.events, 'event')} came meanwhile: run it again"
    return f"{one.place}: {one.where}: {why}"
