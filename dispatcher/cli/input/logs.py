"""Logs on the command line: files, and directories with nothing but logs in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def logs_option(*, required: bool = True) -> Callable[[Command], Command]:
    """``--from`` of the exports."""
    return click.option(
        "--from",
        "logs",
        multiple=True,
        required=required,
        type=click.Path(exists=True, readable=True, path_type=Path),
        help="A tracking log, or a directory with nothing but such logs. May be given several times.",
    )


def directory_option(*, required: bool = True) -> Callable[[Command], Command]:
    """``--to`` of the exports."""
    return click.option(
        "--to",
        "directory",
        required=required,
        type=click.Path(file_okay=False, path_type=Path),
        help="A directory for the files. It is made if it is missing.",
    )


def find_logs(paths: tuple[Path, ...]) -> list[Path]:
    """The logs that were named, and those in directories that were named, each once, in order of their names.

    Raises:
        click.UsageError: A directory is empty.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = sorted(one for one in path.rglob("*") if one.is_file() and not one.name.startswith("."))
            if not inside:
                raise click.UsageError(f"--from: the directory {path} has no files")
            found |= dict.fromkeys(inside)
        else:
            found[path] = None
    return list(found)
