"""``dispatcher settings``: show every setting with its source, and check them before a start."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from dispatcher.cli.settings_from_django import from_django
from dispatcher.config import mask_url, read
from dispatcher.config.collector_secret import missing_secret
from dispatcher.config.environment_file import environment_file
from dispatcher.destinations.options import check_options, mask_settings, missing_packages
from dispatcher.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dispatcher.config import DestinationSettings, LoadedSettings
    from dispatcher.config.variables import KeyPath

# The exit code of ``settings check`` if there are mistakes.
_MISTAKES: Final = 1

# The column of sources. They come behind a longer line, since one long list would push all of them out of sight.
_SOURCE_COLUMN: Final = 56
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")


@click.group()
def settings() -> None:
    """Show and check the settings."""


settings.add_command(from_django)


@settings.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(as_json: bool) -> None:
    """Print every setting and its source. Credentials are masked."""
    loaded = read()
    click.echo(json.dumps(_as_json(loaded), indent=2, default=str) if as_json else "\n".join(_as_toml(loaded)))


@settings.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(as_json: bool) -> None:
    """Look for mistakes, also in the options of destinations. Exit code 1 if there are any."""
    try:
        loaded = read()
        problems = [*check_options(loaded.settings, loaded.source), *missing_packages(loaded.settings, loaded.source)]
        if (missing := missing_secret(loaded.settings)) is not None:
            problems.append(missing)
    except SettingsError as error:
        loaded, problems = None, list(error.problems)
    if as_json:
        click.echo(json.dumps({"ok": not problems, "problems": problems, **_summary(loaded)}, indent=2))
    elif loaded is None or problems:
        _print_problems(problems)
    else:
        _print_summary(loaded)
    sys.exit(_MISTAKES if problems else 0)


def _print_problems(problems: list[str] | tuple[str, ...]) -> None:
    for line in problems:
        click.echo(line, err=True)
    click.echo(f"{len(problems)} mistake{'s' if len(problems) != 1 else ''} in the settings", err=True)


def _print_summary(loaded: LoadedSettings) -> None:
    summary = _summary(loaded)
    store = "" if summary["store_url"] == summary["broker_url"] else f", store {summary['store_url']}"
    click.echo(f"ok: environment {summary['environment']}, broker {summary['broker_url'] or 'embedded'}{store}")
    for name, takes in summary["destinations"].items():
        click.echo(f"  {name}: {takes}")
    for file in (*summary["files"], summary["environment_file"]):
        if file is not None:
            click.echo(f"  read {file}")


def _summary(loaded: LoadedSettings | None) -> dict[str, Any]:
    if loaded is None:
        return {}
    settings, variables = loaded.settings, environment_file(os.environ)
    return {
        "environment": settings.environment,
        "broker_url": None if settings.broker_url is None else mask_url(settings.broker_url),
        "store_url": None if settings.store_url is None else mask_url(settings.store_url),
        "destinations": {name: _takes(table) for name, table in settings.destinations.items()},
        "files": [str(file) for file in loaded.files],
        "environment_file": None if variables is None else str(variables),
    }


def _takes(table: DestinationSettings) -> str:
    if not table.enabled:
        return "disabled"
    if table.events is None:
        return "all events" if table.traits.takes_all_events else "no allowlist"
    where = ", in browsers" if table.traits.in_browser else ""
    return f"an allowlist of {len(table.events)}{where}"


def _as_json(loaded: LoadedSettings) -> dict[str, Any]:
    values = mask_settings(loaded.settings)
    sources = {".".join(path): loaded.source(path) for path, _ in _leaves((), values)}
    return {
        "environment": loaded.settings.environment,
        "files": [str(file) for file in loaded.files],
        "settings": values,
        "sources": sources,
    }


def _as_toml(loaded: LoadedSettings) -> Iterator[str]:
    """Lines of TOML, with the source of each value as a comment."""
    table: KeyPath = ()
    values = mask_settings(loaded.settings)
    for path, value in sorted(_leaves((), values), key=_top_level_first):
        if path[:-1] != table:
            table = path[:-1]
            yield from ("", f"[{'.'.join(table)}]")
        yield from _rows(path[-1], value, loaded.source(path))


def _top_level_first(leaf: tuple[KeyPath, Any]) -> KeyPath:
    # Compares only the tables, so that the order of the schema stays inside each.
    return leaf[0][:-1]


def _line(key: str, value: Any) -> str:
    if value is None:
        return f"# {key} is not set"
    return f"{key} = {_toml(value)}"


def _rows(key: str, value: Any, source: str) -> Iterator[str]:
    """The lines of one setting; a list of tables has a line for each table."""
    if not isinstance(value, list | tuple) or not any(isinstance(item, dict) for item in value):
        yield f"{_line(key, value):{_SOURCE_COLUMN}}  # {source}"
        return
    yield f"{f'{key} = [':{_SOURCE_COLUMN}}  # {source}"
    yield from (f"    {_toml(item)}," for item in value)
    yield "]"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        inner = ", ".join(f"{_toml_key(str(key))} = {_toml(item)}" for key, item in value.items() if item is not None)
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    return json.dumps(value, default=str, ensure_ascii=False)


def _toml_key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=False)


def _leaves(path: KeyPath, value: Any) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(value, dict) and (value or not path):
        for key, inner in value.items():
            yield from _leaves((*path, str(key)), inner)
    else:
        yield path, value
