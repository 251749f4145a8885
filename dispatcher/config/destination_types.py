"""Destination types: found by entry point or as ``package.module:Class``. Only ``load_type`` imports one."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any, Final

from dispatcher.config.object_path import is_object_path
from dispatcher.errors import SettingsError

#: Packages add a type by an entry point of this group: ``name = "package.module:Class"``.
GROUP: Final = "dispatcher.destinations"

#: Types whose vendors take events from browsers only. No queue and no worker is theirs. By name, since relays and web
#: processes import no type.
BROWSER_TYPES: Final = frozenset({"google_tag_manager_web", "optimizely_web", "qualaroo", "crazy_egg"})

#: Types that somebody may still ask for, and what has become of them.
RETIRED_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "fabric": "Fabric and its Answers have ended, and Google Analytics for Firebase is what their users were moved "
        'to: write type = "firebase"',
    }
)


def installed_types() -> tuple[str, ...]:
    """The names of the installed types, sorted. Reads package metadata and imports none of them."""
    return tuple(sorted(entry_points(group=GROUP).names))


def load_type(type_name: str) -> type[Any]:
    """Import the class of a destination type. Raises SettingsError when there is none or it cannot be imported."""
    try:
        loaded = _entry_point(type_name).load()
    except (ImportError, AttributeError) as error:
        raise SettingsError([f"destination type {type_name!r} cannot be imported: {error}{_hint(error)}"]) from error
    if not isinstance(loaded, type):
        raise SettingsError([f"destination type {type_name!r} is no class: {loaded!r}"])
    return loaded


def _hint(error: Exception) -> str:
    if not isinstance(error, ModuleNotFoundError):
        return ""
    return "; install its package, or put its directory on PYTHONPATH: modules are not looked for in the current one"


def _entry_point(type_name: str) -> EntryPoint:
    if is_object_path(type_name):
        return EntryPoint(name=type_name, value=type_name, group=GROUP)
    found = tuple(entry_points(group=GROUP, name=type_name))
    if not found and type_name in RETIRED_TYPES:
        raise SettingsError([RETIRED_TYPES[type_name]])
    if not found:
        known = ", ".join(installed_types()) or "none"
        raise SettingsError([f"there is no destination type {type_name!r}; installed types: {known}"])
    return found[0]
