"""A destination's own options, checked by its type. Apart from ``load``, since it imports the types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from dispatcher.config.destination_types import load_type
from dispatcher.config.masking import MASK, masked
from dispatcher.config.problems import Subject, describe, is_credential, problem
from dispatcher.errors import SettingsError
from dispatcher.templates.expression import is_available, missing_library

if TYPE_CHECKING:
    from collections.abc import Callable

    from dispatcher.config.destination import DestinationSettings
    from dispatcher.config.schema import Settings
    from dispatcher.config.variables import KeyPath


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


def masked_settings(settings: Settings) -> dict[str, Any]:
    """All settings as they may be shown: what looks like a credential is masked, and what a type declares as one.

    Imports the types of the destinations that have options.
    """
    values: dict[str, Any] = masked("", settings.model_dump())
    for name, table in settings.destinations.items():
        shown = values["destinations"][name]
        for option in _credentials(table):
            given = shown[option]
            shown[option] = dict.fromkeys(given, MASK) if isinstance(given, dict) else MASK
    return values


def _credentials(table: DestinationSettings) -> list[str]:
    given = [option for option, value in table.options.items() if value is not None]
    try:
        return [option for option in given if is_credential(load_type(table.type).Options, option)] if given else []
    except SettingsError:  # a type that is not there declares nothing
        return []


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
    if any(condition.matches is not None for rule in table.mapping for condition in rule.when.values()):
        where = (*path, "mapping")
        return [] if is_available() else [problem(source(where), ".".join(where), missing_library())]
    return []
