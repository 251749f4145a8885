"""Loading: every layer over the one below, validated once; all mistakes come out together."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from dispatcher.config.destination_types import RETIRED_TYPES, installed_types, traits_of
from dispatcher.config.files import DEFAULT_ENVIRONMENT, locate, missing
from dispatcher.config.layers import (
    CODE,
    Leaf,
    Tree,
    environment_leaves,
    file_leaves,
    override_leaves,
)
from dispatcher.config.object_path import is_object_path
from dispatcher.config.paths import expand
from dispatcher.config.problems import Subject, describe, nearest, problem
from dispatcher.config.schema import Settings
from dispatcher.config.variables import ENVIRONMENT_VARIABLE, KeyPath, value_of
from dispatcher.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: The source of what nobody said.
DEFAULT_SOURCE = "default"


@dataclass(frozen=True, slots=True)
class Reading:
    """Settings together with where they were read, for those who explain them.

    Args:
        settings: What the rest of the program is given.
        files: What was read, lowest layer first.
        sources: The file, the variable or ``configure()`` that said each value, by its path.
    """

    settings: Settings
    files: tuple[Path, ...]
    sources: Mapping[KeyPath, str]

    def source(self, path: KeyPath) -> str:
        """Who said the value at a path; of a table, who said anything in it; else ``default``."""
        return _source(self.sources, path)


@dataclass(frozen=True, slots=True)
class _Origin:
    """The arguments of ``load``, kept for the next time. Not in the repr: they may hold credentials."""

    environ: Mapping[str, str] = field(repr=False)
    overrides: Mapping[str, Any] = field(repr=False)

    def load(self) -> Settings:
        return load(self.environ, self.overrides)

    def files(self) -> tuple[Path, ...]:
        location = locate(self.environ, _environment(self.environ, self.overrides))
        return location.base, location.own


def load(environ: Mapping[str, str] | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """The settings: base.toml, the environment's file, ``DISPATCHER_*`` variables, overrides; later ones win.

    Args:
        environ: The environment variables; the process's own when None.
        overrides: Nested tables, or keys such as ``outbox__directory``.

    Raises:
        SettingsError: With one line for each mistake.
    """
    return read(environ, overrides).settings


def read(environ: Mapping[str, str] | None = None, overrides: Mapping[str, Any] | None = None) -> Reading:
    """What ``load`` returns, with the source of each value. Takes and raises the same."""
    environ = os.environ if environ is None else environ
    overrides = {} if overrides is None else overrides
    location = locate(environ, _environment(environ, overrides))
    problems = missing(location)
    files = tuple(file for file in (location.base, location.own) if file.is_file())

    layers = [partial(file_leaves, file) for file in files]
    layers += [partial(environment_leaves, environ), partial(override_leaves, overrides)]
    tree = Tree()
    for layer in layers:
        try:
            for leaf in layer():
                tree.put(leaf)
        except SettingsError as error:
            problems += error.problems

    problems += _place_environment(tree, location.environment, environ)
    problems += _expand_own_paths(tree, environ)
    problems += _unknown_types(tree)
    settings = _validated(tree, environ, problems)
    if problems or settings is None:
        raise SettingsError(problems)
    settings._origin = _Origin(environ, overrides)
    return Reading(settings, files, tree.sources)


def source_files(environ: Mapping[str, str] | None = None) -> tuple[Path, ...]:
    """The files that ``load`` would read, whether or not they exist, so that they can be watched for changes.

    Raises:
        SettingsError: DISPATCHER_ENV or DISPATCHER_SETTINGS cannot name a file.
    """
    environ = os.environ if environ is None else environ
    return _Origin(environ, {}).files()


def _environment(environ: Mapping[str, str], overrides: Mapping[str, Any]) -> str:
    return str(overrides.get("environment") or value_of(environ, ENVIRONMENT_VARIABLE) or DEFAULT_ENVIRONMENT)


def _place_environment(tree: Tree, environment: str, environ: Mapping[str, str]) -> list[str]:
    source = tree.sources.get(("environment",), CODE)
    chosen_by = ENVIRONMENT_VARIABLE if value_of(environ, ENVIRONMENT_VARIABLE) else DEFAULT_SOURCE
    if source != CODE:
        value = tree.values["environment"]
        tree.put(Leaf(("environment",), environment, chosen_by))
        return [problem(source, "environment", f"it is not chosen here; set {ENVIRONMENT_VARIABLE} instead", value)]
    if "environment" not in tree.values:
        tree.put(Leaf(("environment",), environment, chosen_by))
    return []


def _validated(tree: Tree, environ: Mapping[str, str], problems: list[str]) -> Settings | None:
    try:
        return Settings.model_validate(tree.values, context={"environ": environ})
    except ValidationError as error:
        subject = Subject(
            model=Settings,
            source=lambda path: _source(tree.sources, path),
            destinations=tuple(name for name, table in _destinations(tree).items() if isinstance(table, dict)),
        )
        problems += describe(error, subject)
        return None


def _expand_own_paths(tree: Tree, environ: Mapping[str, str]) -> list[str]:
    """Make the paths among the destinations' own options absolute, as the schema does with the paths that it knows."""
    problems = []
    for name, table in _destinations(tree).items():
        for option in _own_paths(name, table):
            given = table.get(option)
            try:
                if isinstance(given, str | Path):
                    table[option] = str(expand(given, environ))
            except ValueError as error:
                path = ("destinations", name, option)
                problems.append(problem(_source(tree.sources, path), ".".join(path), str(error), str(given)))
    return problems


def _own_paths(name: str, table: Any) -> Iterable[str]:
    type_name = table.get("type", name) if isinstance(table, dict) else None
    try:
        return traits_of(type_name).paths if isinstance(type_name, str) else ()
    except SettingsError:  # the schema says so
        return ()


def _unknown_types(tree: Tree) -> list[str]:
    """A line for each destination whose type is not installed. The types are not imported."""
    problems = []
    installed = installed_types()
    for name, table in _destinations(tree).items():
        type_name = table.get("type", name) if isinstance(table, dict) else None
        if isinstance(type_name, str) and type_name not in installed and not is_object_path(type_name):
            path = ("destinations", name, *(("type",) if "type" in table else ()))
            message = _unknown_type(type_name, installed)
            value = (type_name,) if "type" in table else ()
            problems.append(problem(_source(tree.sources, path), ".".join(path), message, *value))
    return problems


def _unknown_type(type_name: str, installed: tuple[str, ...]) -> str:
    if type_name in RETIRED_TYPES:
        return RETIRED_TYPES[type_name]
    close = nearest(type_name, installed)
    hint = f"did you mean {close!r}? " if close else ""
    return (
        f"there is no destination type {type_name!r}; {hint}"
        f"installed types: {', '.join(installed) or 'none'}; another one is written package.module:Class"
    )


def _destinations(tree: Tree) -> dict[str, Any]:
    destinations = tree.values.get("destinations")
    return destinations if isinstance(destinations, dict) else {}


def _source(sources: Mapping[KeyPath, str], path: KeyPath) -> str:
    return (
        ", ".join(sorted({source for known, source in sources.items() if known[: len(path)] == path})) or DEFAULT_SOURCE
    )
