"""Dead letters: the options that say which of them a command is for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import click

from dispatcher.cli.input.times import TIMESTAMP, utc
from dispatcher.store.dead_letters import DeadLetterFilter

#: The option ``--file``.
FROM_FILE: Final = click.option(
    "--file",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Those in this file, which a worker has written, instead of those in Redis.",
)


def filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the argument DESTINATION and the options that ``to_filter`` takes."""
    for option in (
        click.option("--until", type=TIMESTAMP, help="Only those that died before this time, in UTC."),
        click.option("--since", type=TIMESTAMP, help="Only those that died at this time, in UTC, or later."),
        click.option("--name", help="Only events with this name; * and ? stand for anything."),
        click.option("--reason", help="Only those with this reason, such as oversized."),
        click.option("--dead-letter", "ids", multiple=True, metavar="ID", help="Only this one; may be repeated."),
        click.argument("destination"),
    ):
        command = option(command)
    return command


def to_filter(options: Mapping[str, Any]) -> DeadLetterFilter:
    """The dead letters that the values of these options mean."""
    return DeadLetterFilter(
        reason=options["reason"],
        name=options["name"],
        since=utc(options["since"]),
        until=utc(options["until"]),
        ids=options["ids"],
    )
