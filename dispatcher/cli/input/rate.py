"""Rate: the option that says how fast a command sends events again."""

from __future__ import annotations

from typing import Final

import click

#: The option ``--rate``.
RATE: Final = click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    default=1000.0,
    show_default=True,
    metavar="EVENTS",
    help="Events a second.",
)
