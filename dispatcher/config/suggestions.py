"""Suggestions: which setting was meant by a key that is unknown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, get_args

from pydantic import BaseModel

from dispatcher.config.destination import DestinationSettings
from dispatcher.config.schema import Settings
from dispatcher.config.spelling import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from dispatcher.config.variables import KeyPath

# Variables that choose what is read, and may be misspelt as the others may.
_CHOICES: Final[tuple[KeyPath, ...]] = (("env",), ("settings",))


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What was validated.

    Args:
        model: The model of the values.
        source: Says what set the value at a path: a file, a variable, ``configure()`` or ``default``.
        prefix: Where the model's keys stand in the settings.
        destinations: The names of the destinations, for suggestions.
    """

    model: type[BaseModel]
    source: Callable[[KeyPath], str]
    prefix: KeyPath = ()
    destinations: tuple[str, ...] = ()


def known_paths(subject: Subject) -> list[KeyPath]:
    """Every path at which a setting may stand, those of the subject's own model first."""
    own = subject.model.model_fields if subject.prefix else ()
    return [*((*subject.prefix, name) for name in own), *_paths(Settings, (), subject.destinations)]


def children(known: Iterable[KeyPath], table: KeyPath) -> list[str]:
    """The keys that a table can hold."""
    depth = len(table)
    return list(dict.fromkeys(path[depth] for path in known if path[:depth] == table and len(path) > depth))


def meant_path(
    path: KeyPath, known: list[KeyPath], destinations: tuple[str, ...], *, is_variable: bool
) -> KeyPath | None:
    """The setting that a wrong path was meant to be: one underscore for two, a typo, or the wrong table."""
    if is_variable:
        known = [*known, *_CHOICES]
    by_spelling = {"_".join(setting): setting for setting in known}
    spelt = "_".join(path)
    if spelt in by_spelling:
        return by_spelling[spelt]
    if path[0] != "destinations" and (option := _option_of(spelt, destinations)) is not None:
        return option
    siblings = children(known, path[:-1])
    if (sibling := nearest(path[-1], siblings)) is not None:
        return (*path[:-1], sibling)
    elsewhere = [setting for setting in known if setting[-1] == path[-1]]
    if elsewhere:
        return elsewhere[0]
    # Inside a table that exists, the names of both would be alike by the table's name alone.
    close = None if path[:-1] and siblings else nearest(spelt, by_spelling)
    return None if close is None else by_spelling[close]


def model_at(model: type[BaseModel], location: Iterable[int | str]) -> type[BaseModel]:
    """The model of the table at a place inside the values of another."""
    is_item = False
    for part in location:
        # The place of an item in a list, or its key in a table with free keys: its model is known already.
        if is_item:
            is_item = False
        elif (field := model.model_fields.get(str(part))) is not None:
            is_item = not isinstance(field.annotation, type)
            model = next(_models_in(field.annotation), model)
    return model


def _option_of(spelt: str, destinations: tuple[str, ...]) -> KeyPath | None:
    """``segment_write_key`` and ``destinations_segment_write_key`` are meant to be the option of a destination."""
    for name in destinations:
        option = spelt.removeprefix("destinations_").removeprefix(f"{name}_")
        if option not in ("", spelt.removeprefix("destinations_")):
            return "destinations", name, option
    return None


def _paths(model: type[BaseModel], prefix: KeyPath, destinations: tuple[str, ...]) -> Iterator[KeyPath]:
    for name, field in model.model_fields.items():
        inner = field.annotation
        if model is Settings and name == "destinations":
            for destination in destinations:
                yield from _paths(DestinationSettings, (*prefix, name, destination), ())
        elif isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _paths(inner, (*prefix, name), ())
        elif name != "environment":
            yield (*prefix, name)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)
