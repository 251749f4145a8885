"""Destination types by name, as packages install them. The types are not imported here, only their traits."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Final, TypeAlias

from dispatcher.config.object_path import is_object_path
from dispatcher.config.spelling import nearest
from dispatcher.config.traits import Traits
from dispatcher.errors import SettingsError

#: Packages add a type by an entry point of this group: ``name = "package.module:Class"``.
TYPES_GROUP: Final = "dispatcher.destinations"
#: And its traits, where it has any, by one of this group and the same name: ``name = "package.light_module:TRAITS"``.
TRAITS_GROUP: Final = "dispatcher.destination_traits"

#: Former types that settings may still name, and what has become of them.
RETIRED_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "fabric": "Fabric and its Answers have ended, and Google Analytics for Firebase is what their users were moved "
        'to: write type = "firebase"',
    }
)

_USUAL: Final = Traits()

_EntryPoints: TypeAlias = Mapping[str, Mapping[str, EntryPoint]]


def installed_types() -> tuple[str, ...]:
    """The names of the installed types, sorted. Reads the packages' metadata and imports nothing."""
    return tuple(sorted(_entry_points(tuple(sys.path))[TYPES_GROUP]))


def traits_of(type_name: str) -> Traits:
    """The traits of a type: those that its package installs beside it, else the usual ones.

    A type that is written ``package.module:Class`` has the usual ones. Unknown types do too.

    Raises:
        SettingsError: The entry point names something else, or what cannot be imported; or the checkout is newer than
            its installation.
    """
    if _entry_point(TYPES_GROUP, type_name) is None:
        return _USUAL
    if not _entry_points(tuple(sys.path))[TRAITS_GROUP]:
        # Our own types have some. Without them the tracking log would get no event that is not on a list.
        raise SettingsError(
            ["dispatcher was installed from an older checkout: install it again, with `make venv` or pip"]
        )
    entry_point = _entry_point(TRAITS_GROUP, type_name)
    if entry_point is None:
        return _USUAL
    try:
        traits = entry_point.load()
    except (ImportError, AttributeError) as error:
        raise SettingsError([f"the traits of destination type {type_name!r} cannot be imported: {error}"]) from error
    if not isinstance(traits, Traits):
        raise SettingsError([f"the traits of destination type {type_name!r} must be Traits, not {traits!r}"])
    return traits


def unknown_type(type_name: str) -> str | None:
    """What is wrong with the name of a type; None for an installed type, and for any ``package.module:Class``."""
    if is_object_path(type_name) or _entry_point(TYPES_GROUP, type_name) is not None:
        return None
    if type_name in RETIRED_TYPES:
        return RETIRED_TYPES[type_name]
    close = nearest(type_name, installed_types())
    hint = f"did you mean {close!r}? " if close else ""
    return (
        f"unknown destination type {type_name!r}; {hint}"
        f"installed types: {', '.join(installed_types()) or 'none'}; another one is written package.module:Class"
    )


def class_of(type_name: str) -> EntryPoint:
    """Where the class of a type is; ``load`` of what is returned imports it.

    Raises:
        SettingsError: No such type is installed.
    """
    reason = unknown_type(type_name)
    if reason is not None:
        raise SettingsError([reason])
    entry_point = _entry_point(TYPES_GROUP, type_name)
    return entry_point or EntryPoint(name=type_name, value=type_name, group=TYPES_GROUP)


def _entry_point(group: str, type_name: str) -> EntryPoint | None:
    if is_object_path(type_name):
        return None
    if type_name not in _entry_points(tuple(sys.path))[TYPES_GROUP]:
        # A running process may read settings again whose type was installed since.
        _entry_points.cache_clear()
    return _entry_points(tuple(sys.path))[group].get(type_name)


@lru_cache(maxsize=1)
def _entry_points(path: tuple[str, ...]) -> _EntryPoints:
    """The entry points of both groups, by name; of several with one name, the first on the path."""
    # Reads a file of each installed package, which takes 5 ms where there are a hundred.
    found = entry_points()
    return {
        group: {entry_point.name: entry_point for entry_point in reversed(tuple(found.select(group=group)))}
        for group in (TYPES_GROUP, TRAITS_GROUP)
    }
