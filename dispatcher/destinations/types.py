"""The classes of destination types. Only code that delivers, previews or checks options may import one."""

from __future__ import annotations

from dispatcher.config.destination_types import class_of
from dispatcher.destinations.base import BaseDestination, Options
from dispatcher.errors import SettingsError


def load_type(type_name: str) -> type[BaseDestination[Options]]:
    """Import the class of a destination type, with its vendor's client if it has one.

    Args:
        type_name: The name of an installed type, or ``package.module:Class``.

    Raises:
        SettingsError: No such type is installed, it cannot be imported, or it is something else.
    """
    try:
        loaded: object = class_of(type_name).load()
    except ModuleNotFoundError as error:
        remedy = "install its package, or put its directory on PYTHONPATH: the current one is not searched"
        raise SettingsError([f"destination type {type_name!r} cannot be imported: {error}; {remedy}"]) from error
    except (ImportError, AttributeError) as error:
        problem = f"destination type {type_name!r} cannot be imported: {error}"
        if isinstance(error, ModuleNotFoundError):
            problem += (
                "; install its package, or put its directory on PYTHONPATH: the current directory is not searched"
            )
        raise SettingsError([problem]) from error
    if not isinstance(loaded, type) or not issubclass(loaded, BaseDestination):
        raise SettingsError([f"destination type {type_name!r} must be a subclass of Destination, not {loaded!r}"])
    return loaded
