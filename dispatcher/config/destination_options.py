"""A destination's own options, checked by its type. Apart from ``load``, since it imports the types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from dispatcher.config.destination_types import load_type
from dispatcher.config.problems import Subject, describe, problem
from dispatcher.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dispatcher.config.layers import KeyPath
    from dispatcher.config.schema import DestinationSettings, Settings


def check_options(settings: Settings, source: Callable[[KeyPath], str] | None = None) -> list[str]:
    """Mistakes in the destinations' own options, a line each. Imports the types of those that are enabled.

    Args:
        settings: What to look at.
        source: Who said the value at a path, as ``Reading.source``; "settings" stands for all when None.
    """
    problems: list[str] = []
    for name, table in settings.destinations.items():
        if table.enabled:
            problems += _check(name, table, source or (lambda _: "settings"))
    return problems


def _check(name: str, table: DestinationSettings, source: Callable[[KeyPath], str]) -> list[str]:
    path = ("destinations", name)
    try:
        options = load_type(table.type).Options
    except SettingsError as error:
        return [problem(source(path), ".".join(path), line) for line in error.problems]
    try:
        options.model_validate(table.options)
    except ValidationError as error:
        return describe(error, Subject(model=options, source=source, prefix=path, destinations=(name,)))
    return []
