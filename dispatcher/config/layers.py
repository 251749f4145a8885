"""Layers: what files, environment variables and code say, as leaves that each know where they come from."""

from __future__ import annotations

import codecs
import json
import re
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, get_args, get_origin

from pydantic import BaseModel

from dispatcher.config.collector import SourceSettings
from dispatcher.config.credential import trim
from dispatcher.config.destination import DestinationSettings
from dispatcher.config.problems import problem
from dispatcher.config.schema import Settings
from dispatcher.config.variables import DIRECTORY_VARIABLE, ENVIRONMENT_VARIABLE, FILE_VARIABLE, PREFIX, SERVICE_LINK
from dispatcher.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dispatcher.config.variables import KeyPath

#: The source of what code says.
CODE: Final = "configure()"
#: The source of what nothing says.
DEFAULT_SOURCE: Final = "default"

# Kubernetes gives every pod such variables for a service named dispatcher or dispatcher-something; no setting has
# these names, and a typo check that stops the start for them would be of no use to anyone.
_SERVICE_LINK: Final = re.compile(PREFIX + SERVICE_LINK)


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value, where it stands, and its source: a file, a variable or ``configure()``."""

    path: KeyPath
    value: Any
    source: str


class Tree:
    """Leaves laid over one another, later ones on top. Not thread-safe."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self._sources: dict[KeyPath, str] = {}

    @property
    def destinations(self) -> dict[str, dict[str, Any]]:
        """The tables of the destinations, by name; without anything else that stands there by mistake."""
        tables = self.values.get("destinations")
        found = tables if isinstance(tables, dict) else {}
        return {name: table for name, table in found.items() if isinstance(table, dict)}

    def source(self, path: KeyPath) -> str:
        """What set the value at a path; of a table, everything that set a value in it; else ``default``."""
        found = {source for known, source in self._sources.items() if known[: len(path)] == path}
        return ", ".join(sorted(found)) or DEFAULT_SOURCE

    def is_variable(self, path: KeyPath) -> bool:
        """Whether a variable of the environment set the value at a path."""
        return self.source(path).upper().startswith(PREFIX)

    def problem(self, path: KeyPath, message: str, *value: Any) -> str:
        """The line for a mistake at a path, with the value if it is given."""
        return problem(self.source(path), ".".join(path), message, *value)

    def put(self, leaf: Leaf) -> None:
        """Lay a leaf over what is there. An empty table keeps what a lower layer has in it."""
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
        self._sources[leaf.path] = leaf.source

    def _forget(self, path: KeyPath) -> None:
        self._sources = {known: source for known, source in self._sources.items() if known[: len(path)] != path}


def file_leaves(path: Path) -> list[Leaf]:
    """What a TOML file says. Raises SettingsError when it cannot be read or is not TOML."""
    try:
        content = path.read_bytes()
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise SettingsError([f"{path}: it is UTF-16: save it as UTF-8"])
        # Some editors begin a file with a byte order mark, which TOML does not know.
        values = tomllib.loads(content.removeprefix(codecs.BOM_UTF8).decode())
    except tomllib.TOMLDecodeError as error:
        raise SettingsError([f"{path}: not TOML: {error}"]) from None
    except UnicodeDecodeError as error:
        raise SettingsError([f"{path}: not UTF-8 at byte {error.start}: save it as UTF-8"]) from None
    except OSError as error:
        raise SettingsError([f"{path}: cannot be read: {error.strerror}"]) from None
    return list(_flatten((), values, str(path)))


def override_leaves(overrides: Mapping[str, Any]) -> list[Leaf]:
    """What code says: nested tables, keys such as ``outbox__directory``, or a mix of both."""
    leaves: list[Leaf] = []
    for key, value in overrides.items():
        leaves += _flatten(tuple(str(key).split("__")), value, CODE)
    return leaves


def environment_leaves(environ: Mapping[str, str]) -> list[Leaf]:
    """What ``DISPATCHER_*`` variables say. An empty one counts as not set, since Compose passes those on.

    The blanks and line ends around a value do not count: a file with the line ends of Windows leaves one at each.
    """
    leaves: list[Leaf] = []
    # The more exact path wins, and the usual spelling over another one of the same name.
    for name, text in sorted(environ.items(), key=lambda item: (item[0].count("__"), item[0].isupper())):
        # A caller may pass on what a YAML file has for a number.
        value = trim(str(text)) if text else ""
        if value and _is_setting(name):
            path = tuple(name[len(PREFIX) :].lower().split("__"))
            leaves += _flatten(path, _parse(path, value), name)
    return leaves


def _is_setting(name: str) -> bool:
    upper = name.upper()
    first = name[len(PREFIX) :].lower().partition("__")
    if upper in (ENVIRONMENT_VARIABLE, DIRECTORY_VARIABLE, FILE_VARIABLE):
        return False
    is_setting = bool(first[1]) and first[0] in Settings.model_fields
    return upper.startswith(PREFIX) and (is_setting or _SERVICE_LINK.fullmatch(upper) is None)


def _flatten(path: KeyPath, value: Any, source: str) -> Iterator[Leaf]:
    if isinstance(value, BaseModel):
        value = value.model_dump(exclude_unset=True)
    if isinstance(value, Mapping) and (value or not path):
        for key, inner in value.items():
            yield from _flatten((*path, str(key)), inner, source)
    else:
        yield Leaf(path, dict(value) if isinstance(value, Mapping) else value, source)


def _parse(path: KeyPath, text: str) -> Any:
    """The value of a variable: JSON for a list or a table, else the text, of which the schema makes a number."""
    wanted = _type_at(Settings, path)
    # The types of a destination's own options are unknown here: what looks like a list or a table is read as one.
    if wanted in (list, dict) or (wanted is None and text[:1] in ("[", "{")):
        with suppress(ValueError):
            return json.loads(text)
    return text


def _type_at(model: type[BaseModel], path: KeyPath) -> type | None:
    """What a setting takes: ``list``, ``dict`` for a table, ``str`` for anything else; None: unknown."""
    head, rest = path[0], path[1:]
    tables: dict[str, type[BaseModel]] = {"destinations": DestinationSettings, "sources": SourceSettings}
    if model is Settings and head in tables:
        named = tables[head]
        return _type_at(named, rest[1:]) if rest[1:] else dict
    field = model.model_fields.get(head)
    if field is None:
        return None
    inner = field.annotation
    if isinstance(inner, type) and issubclass(inner, BaseModel):
        return _type_at(inner, rest) if rest else dict
    return list if tuple in {get_origin(part) for part in (inner, *get_args(inner))} else str
