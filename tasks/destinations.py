"""The destinations that the settings ask for, by their types' entry points, with their options checked."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from dispatcher import config
from dispatcher.errors import SettingsError

if TYPE_CHECKING:
    from tasks.destination import Destination

Build = Callable[[], "Destination[Any]"]


def build_destinations(settings: config.Settings) -> dict[str, Build]:
    """What makes each enabled destination, by name; called in the process that delivers.

    Raises:
        SettingsError: Options are missing or wrong; all of them are named at once.
    """
    problems = config.check_options(settings)
    if problems:
        raise SettingsError(problems)
    return {name: partial(_build, name, table) for name, table in settings.destinations.items() if table.enabled}


def _build(name: str, table: config.DestinationSettings) -> Destination[Any]:
    kind = config.load_type(table.type)
    built: Destination[Any] = kind(name, kind.Options.model_validate(table.options))
    return built
