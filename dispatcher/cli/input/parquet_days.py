"""Parquet days on the command line: the directory of an earlier export, and the first and the last of its days."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from dispatcher.exports.warehouse.days import ParquetDay

Command = TypeVar("Command", bound=Callable[..., Any])
_DAY = click.DateTime(["%Y-%m-%d"])


def parquet_options(*, required: bool = True) -> Callable[[Command], Command]:
    """``--from``, ``--since`` and ``--until`` of what stands on an export to Parquet."""

    def decorate(command: Command) -> Command:
        for option in (
            click.option("--until", type=_DAY, help="The day behind the last one. Without it, all."),
            click.option("--since", type=_DAY, help="The first day, as YYYY-MM-DD in UTC. Without it, all."),
            click.option(
                "--from",
                "source",
                required=required,
                type=click.Path(exists=True, file_okay=False, path_type=Path),
                help="The directory that dispatcher export parquet has written.",
            ),
        ):
            command = option(command)
        return command

    return decorate


def read_days(source: Path, since: datetime | None, until: datetime | None) -> list[ParquetDay]:
    """The days that were asked for. Needs the extra ``export``. Raises as ``find_days``."""
    from dispatcher.exports.warehouse.days import find_days  # noqa: PLC0415 - the extra

    first, behind = (f"{day:%Y-%m-%d}" if day is not None else "" for day in (since, until))
    return find_days(source, first, behind)
