"""A destination's own options, checked and shown as its type says. Apart from ``load``, since it imports the types."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from dispatcher.config.destination_types import TRAITS_GROUP, traits_of
from dispatcher.config.files import SHIPPED
from dispatcher.config.object_path import is_object_path
from dispatcher.config.problems import describe, is_credential, problem
from dispatcher.config.suggestions import Subject
from dispatcher.destinations.base import Destination
from dispatcher.destinations.types import load_type
from dispatcher.errors import SettingsError
from dispatcher.secrecy.masking import MASK, mask
from dispatcher.templates.expression import is_available, missing_library

if TYPE_CHECKING:
    from collections.abc import Callable

    from dispatcher.config import DestinationSettings, Settings
    from dispatcher.config.variables import KeyPath
    from dispatcher.destinations.base import BaseDestination, Options


def check_options(settings: Settings, source: Callable[[KeyPath], str] | None = None) -> list[str]:
    """Mistakes in the destinations' own options, a line each. Imports the types of those that are enabled.

    Args:
        settings: What to check.
        source: Says what set the value at a path, as ``LoadedSettings.source``; None stands for "settings".
    """
    problems: list[str] = [] if source is None else _brought_back(settings, source)
    for name, table in settings.destinations.items():
        if table.enabled:
            problems += _check(name, table, source or (lambda _: "settings"))
    return problems


def missing_packages(settings: Settings, source: Callable[[KeyPath], str]) -> list[str]:
    """Packages that destinations need and that are not installed here, a line each, for those that are enabled.

    Types that cannot be imported, of which ``check_options`` complains, are passed over.

    Args:
        settings: What to check.
        source: As for ``check_options``.
    """
    problems = []
    for name, table in settings.destinations.items():
        with suppress(SettingsError):
            if table.enabled and (missing := load_type(table.type).missing_package()) is not None:
                problems.append(problem(source(("destinations", name)), f"destinations.{name}", missing))
    return problems


def _brought_back(settings: Settings, source: Callable[[KeyPath], str]) -> list[str]:
    """Destinations that nothing but the base.toml of dispatcher names, beside one of the same type that the site has.

    As after a site has given its tracking log another name: each event would go to both.
    """
    sources = {name: source(("destinations", name)) for name, table in settings.destinations.items() if table.enabled}
    shipped = str(SHIPPED / "base.toml")
    problems = []
    for name in [name for name, of_name in sources.items() if of_name == shipped]:
        type_name = settings.destinations[name].type
        others = [other for other in sources if other != name and settings.destinations[other].type == type_name]
        if others:
            message = (
                f"it comes with dispatcher, beside {', '.join(others)} of the same type: events would go to each. Set "
                f"enabled = false in destinations.{name}, or name it in your own file if you want both"
            )
            problems.append(problem(shipped, f"destinations.{name}", message))
    return problems


def max_age_seconds(settings: Settings, name: str) -> float | None:
    """How old an event may be for a destination's vendor to take it; None for any age.

    None too for an unknown destination and for wrong options, which others complain of. Raises SettingsError where its
    type cannot be imported.
    """
    if (table := settings.destinations.get(name)) is None:
        return None
    destination_class = load_type(table.type)
    try:
        return destination_class.max_age_seconds(destination_class.Options.model_validate(table.options))
    except ValidationError:
        return None


def mask_settings(settings: Settings) -> dict[str, Any]:
    """All settings as they may be shown: what looks like a credential is masked, and what a type declares as one.

    Imports the types of the destinations that have options.
    """
    values: dict[str, Any] = mask("", settings.model_dump())
    for name, table in settings.destinations.items():
        shown = values["destinations"][name]
        for option in _credentials(table):
            value = shown[option]
            shown[option] = dict.fromkeys(value, MASK) if isinstance(value, dict) else MASK
    return values


def _credentials(table: DestinationSettings) -> list[str]:
    given = [option for option, value in table.options.items() if value is not None]
    try:
        return [option for option in given if is_credential(load_type(table.type).Options, option)] if given else []
    except SettingsError:  # a type that cannot be imported declares nothing
        return []


def _check(name: str, table: DestinationSettings, source: Callable[[KeyPath], str]) -> list[str]:
    path = ("destinations", name)
    try:
        destination_class = load_type(table.type)
    except SettingsError as error:
        return [problem(source(path), ".".join(path), line) for line in error.problems]
    if not _is_known_by_its_traits(table.type, destination_class):
        message = (
            f"the traits of destination type {table.type!r} are not those that are installed: install its package "
            f"again, or name them in its entry points of {TRAITS_GROUP}"
        )
        return [problem(source(path), ".".join(path), message)]
    options = destination_class.Options
    try:
        model = options.model_validate(table.options)
    except ValidationError as error:
        return describe(error, Subject(model=options, source=source, prefix=path, destinations=(name,)))
    if table.lease_seconds <= (longest := destination_class.longest_seconds(model)):
        where = (*path, "lease_seconds")
        message = (
            f"it is {table.lease_seconds:g} s, and one request may take {longest:g} s, so that another worker would "
            "send the same events meanwhile: raise it, or lower timeout_seconds and connect_timeout_seconds"
        )
        return [problem(source(where), ".".join(where), message)]
    if any(condition.matches is not None for rule in table.mapping for condition in rule.when.values()):
        where = (*path, "mapping")
        return [] if is_available() else [problem(source(where), ".".join(where), missing_library())]
    return []


def _is_known_by_its_traits(type_name: str, destination_class: type[BaseDestination[Options]]) -> bool:
    # Else web processes and relays would treat it otherwise than it expects. A destination that workers send to can
    # do without its traits where it is written as module and class.
    is_sent_to = issubclass(destination_class, Destination) and not destination_class.traits.in_browser
    if is_object_path(type_name) and is_sent_to:
        return True
    return destination_class.traits == traits_of(type_name)
