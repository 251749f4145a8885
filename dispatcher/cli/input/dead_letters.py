"""Dead letters: the options that say which of them a command is for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from dispatcher.cli.input.times import TIMESTAMP, utc
from dispatcher.store.dead_letter import DeadLetterFilter

#: The option ``--file``.
FROM_FILE: Final = click.option(
    "--file",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Those in this file, which a worker has written, instead of those in Redis.",
)


def filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that ``to_filter`` takes."""
    for option in (
        click.option("--until", type=TIMESTAMP, help="Only those that died before this time, in UTC."),
        click.option("--since", type=TIMESTAMP, help="Only those that died at this time, in UTC, or later."),
        click.option("--name", help="Only events with this name; * and ? stand for anything."),
        click.option("--reason", help="Only those with this reason, such as oversized."),
        click.option("--dead-letter", "ids", multiple=True, metavar="ID", help="Only this one; may be repeated."),
        click.option("--id", "event_ids", multiple=True, metavar="ID", help="Only this event; may be repeated."),
        click.option("--user", help="Only events about this user, by id or name."),
        click.option(
            "--where",
            multiple=True,
            metavar="PATH=VALUE",
            callback=_read_conditions,
            help="Only events with this value there, such as data.course_id=course-v1:A+B+C; may be repeated.",
        ),
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
        event_ids=options["event_ids"],
        user=options["user"],
        where=options["where"],
        after=options.get("after"),
    )


def _read_conditions(_: click.Context, __: click.Parameter, given: Sequence[str]) -> tuple[tuple[str, str], ...]:
    conditions = []
    for text in given:
        path, sign, value = text.partition("=")
        if not sign or path.partition(".")[0] not in ("data", "context", "id", "name", "type"):
            raise click.BadParameter(
                "it must be a path and a value, such as data.course_id=course-v1:A+B+C; the path begins with data, "
                "context, id, name or type"
            )
        conditions.append((path, value))
    return tuple(conditions)


def read_after(_: click.Context, __: click.Parameter, given: str | None) -> tuple[str, str] | None:
    """The value of ``--after``: the id of a dead letter, and the destination before it, if any. A click callback."""
    if given is None:
        return None
    destination, _slash, letter_id = given.rpartition("/")
    if not all(part.isdigit() for part in letter_id.split("-")) or letter_id.count("-") != 1:
        raise click.BadParameter("it must be the id of a dead letter, such as 1795442400000-0, as the list shows it")
    return letter_id, destination
