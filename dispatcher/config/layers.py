"""Layers: what files, environment variables and code say, as leaves that each know where they come from."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, get_args, get_origin

from pydantic import BaseModel

from dispatcher.config.destination import DestinationSettings
from dispatcher.config.schema import Settings
from dispatcher.config.variables import DIRECTORY_VARIABLE, ENVIRONMENT_VARIABLE, PREFIX
from dispatcher.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dispatcher.config.variables import KeyPath

CODE: Final = "configure()"

# Kubernetes gives every pod such variables for a service named dispatcher or dispatcher-something; no setting has
# these names, and a typo check that stops the start for them would be of no use to anyone.
_SERVICE_LINK: Final = re.compile(r"DISPATCHER_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP)(_\w+)?)?)")


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value, where it stands and what said so: a file, a variable or ``configure()``."""

    path: KeyPath
    value: Any
    source: str


class Tree:
    """Leaves laid over one another, later ones on top. Not thread-safe."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.sources: dict[KeyPath, str] = {}

    def put(self, leaf: Leaf) -> None:
        """Lay a leaf over what is there. An empty table leaves what a lower layer has in it."""
        table = self.values
        for depth, part in enumerate(leaf.path[:-1], start=1):
            if not isinstance(table.get(part), dict):
                self._forget(leaf.path[:depth])
                table[part] = {}
            table = table[part]
        if leaf.value == {} and isinstance(table.get(leaf.path[-1]), dict):
            return
        self._forget(leaf.path)
        table[leaf.path[-1]] = leaf.value
        self.sources[leaf.path] = leaf.source

    def _forget(self, path: KeyPath) -> None:
        self.sources = {known: source for known, source in self.sources.items() if known[: len(path)] != path}


def file_leaves(path: Path) -> list[Leaf]:
    """What a TOML file says. Raises SettingsError when it cannot be read or is not TOML."""
    try:
        with path.open("rb") as file:
            values = tomllib.load(file)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError([f"{path}: not TOML: {error}"]) from None
    except UnicodeDecodeError as error:
        raise SettingsError([f"{path}: not UTF-8 at byte {error.start}: save it as UTF-8"]) from None
    except OSError as error:
        raise SettingsError([f"{path}: cannot be read: {error.strerror}"]) from None
    return list(_flattened((), values, str(path)))


def override_leaves(overrides: Mapping[str, Any]) -> list[Leaf]:
    """What code says: nested tables, keys such as ``outbox__directory``, or a mix of both."""
    leaves: list[Leaf] = []
    for key, value in overrides.items():
        leaves += _flattened(tuple(str(key).split("__")), value, CODE)
    return leaves


def environment_leaves(environ: Mapping[str, str]) -> list[Leaf]:
    """What ``DISPATCHER_*`` variables say. An empty one counts as not set, since Compose passes those on."""
    leaves: list[Leaf] = []
    for name, text in sorted(environ.items(), key=_precedence):
        if text and _is_setting(name):
            path = tuple(name[len(PREFIX) :].lower().split("__"))
            leaves += _flattened(path, _parsed(path, text), name)
    return leaves


def _precedence(variable: tuple[str, str]) -> tuple[int, bool]:
    # The more exact path wins, and the usual spelling over another one of the same name.
    name, _ = variable
    return name.count("__"), name.isupper()


def _is_setting(name: str) -> bool:
    upper = name.upper()
    if upper in (ENVIRONMENT_VARIABLE, DIRECTORY_VARIABLE):
        return False
    return upper.startswith(PREFIX) and ("__" in name or _SERVICE_LINK.fullmatch(upper) is None)


def _flattened(path: KeyPath, value: Any, source: str) -> Iterator[Leaf]:
    if isinstance(value, BaseModel):
        value = value.model_dump(exclude_unset=True)
    if isinstance(value, Mapping) and (value or not path):
        for key, inner in value.items():
            yield from _flattened((*path, str(key)), inner, source)
    else:
        yield Leaf(path, dict(value) if isinstance(value, Mapping) else value, source)


def _parsed(path: KeyPath, text: str) -> Any:
    wanted = _wanted(Settings, path)
    # A destination's own options are unknown here: what looks like a list or a table is read as one.
    if wanted in (list, dict) or (wanted is None and text[:1] in ("[", "{")):
        return _json_or_text(text)
    return text


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _wanted(model: type[BaseModel], path: KeyPath) -> type | None:
    """What a setting takes: a list, a table (dict), or text that the schema makes a number of; None: unknown."""
    head, rest = path[0], path[1:]
    if model is Settings and head == "destinations":
        return _wanted(DestinationSettings, rest[1:]) if rest[1:] else dict
    field = model.model_fields.get(head)
    if field is None:
        return None
    inner = field.annotation
    if isinstance(inner, type) and issubclass(inner, BaseModel):
        return _wanted(inner, rest) if rest else dict
    return _kind(inner)


def _kind(annotation: Any) -> type:
    return list if tuple in {get_origin(part) for part in (annotation, *get_args(annotation))} else str
