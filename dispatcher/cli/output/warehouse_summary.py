"""Warehouse summary: what a table of others has after an export, for a terminal and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dispatcher.monitoring.units import count_text

if TYPE_CHECKING:
    from dispatcher.exports.warehouse.manifest import WarehouseManifest

# Why a row is in no table, for a person.
_DROPPED = {
    "no_source": "without an event_source, which the table needs",
    "payload_not_an_object": "whose payload is not an object, as by edX's rules",
}


def print_warehouse_summary(manifest: WarehouseManifest, target: object, *, as_json: bool) -> None:
    """Print how many rows the table has, and what became of the others."""
    if as_json:
        click.echo(manifest.to_json())
        return
    click.echo(f"{manifest.rows:>14,}  rows of {count_text(len(manifest.days), 'day')}")
    click.echo(f"{manifest.written:>14,}  in {target}")
    for reason, count in manifest.dropped.items():
        click.echo(f"{count:>14,}  left out, {reason}: {_DROPPED[reason]}")
    for column, count in manifest.shortened.items():
        click.echo(f"{count:>14,}  cut to the length of their column: {column}")
