"""Logs on the command line: files, and directories with nothing but logs in them."""

from __future__ import annotations

from pathlib import Path

import click

#: ``--from`` of the exports.
LOGS = click.option(
    "--from",
    "logs",
    multiple=True,
    required=True,
    type=click.Path(exists=True, readable=True, path_type=Path),
    help="A tracking log, or a directory with nothing but such logs. May be given several times.",
)
#: ``--to`` of the exports.
DIRECTORY = click.option(
    "--to",
    "directory",
    required=True,
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
