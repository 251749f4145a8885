"""Loading: every layer over the one below, validated once; all mistakes come out together."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from dispatcher.config.credential import clean
from dispatcher.config.destination_types import traits_of, unknown_type
from dispatcher.config.environment_file import with_environment_file
from dispatcher.config.files import DEFAULT_ENVIRONMENT, locate, missing_files, obstacle
from dispatcher.config.layers import (
    CODE,
    DEFAULT_SOURCE,
    Leaf,
    Tree,
    environment_leaves,
    file_leaves,
    override_leaves,
)
from dispatcher.config.paths import expand
from dispatcher.config.problems import describe
from dispatcher.config.schema import Settings
from dispatcher.config.suggestions import Subject
from dispatcher.config.variables import ENVIRONMENT_VARIABLE, KeyPath, value_of
from dispatcher.errors import SettingsError
from dispatcher.secrecy.masking import MASK
from dispatcher.secrecy.secret_names import is_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# The settings that are paths, beside those of destinations.
_PATHS: Final[tuple[KeyPath, ...]] = (("state_directory",), ("outbox", "directory"))


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """Settings together with where they come from, for those who explain them.

    Args:
        settings: What the rest of the program is given.
        files: The files that were read, the lowest layer first.
        source: Says what set the value at a path: a file, a variable, ``configure()`` or ``default``. Of a table it
            says everything that set a value in it.
    """

    settings: Settings
    files: tuple[Path, ...]
    source: Callable[[KeyPath], str]


@dataclass(frozen=True, slots=True)
class _Origin:
    """The arguments of ``load``, kept for the next time. Not in the repr: they may hold credentials."""

    environ: Mapping[str, str] = field(repr=False)
    overrides: Mapping[str, Any] = field(repr=False)

    def load(self) -> Settings:
        return load(self.environ, self.overrides)

    def files(self) -> tuple[Path, ...]:
        location = locate(self.environ, self.environment)
        return location.base, location.own

    @property
    def environment(self) -> str:
        chosen = self.overrides.get("environment") or value_of(self.environ, ENVIRONMENT_VARIABLE)
        return str(chosen or DEFAULT_ENVIRONMENT)


def load(environ: Mapping[str, str] | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """The settings: base.toml, the environment's file, ``DISPATCHER_*`` variables, overrides; later ones win.

    Reads two files and the metadata of installed packages, and imports no destination type.

    Args:
        environ: The environment variables; when None, the process's own, over those of the environment file.
        overrides: Nested tables, or keys such as ``outbox__directory``.

    Raises:
        SettingsError: With one line for each mistake.
    """
    return read(environ, overrides).settings


def read(environ: Mapping[str, str] | None = None, overrides: Mapping[str, Any] | None = None) -> LoadedSettings:
    """What ``load`` returns, with the source of each value. Takes and raises the same."""
    origin = _Origin(with_environment_file(os.environ) if environ is None else environ, overrides or {})
    location = locate(origin.environ, origin.environment)
    problems = missing_files(location)
    files = tuple(file for file in (location.base, location.own) if obstacle(file) is None)

    layers = [partial(file_leaves, file) for file in files]
    layers += [partial(environment_leaves, origin.environ), partial(override_leaves, origin.overrides)]
    tree = Tree()
    for layer in layers:
        try:
            for leaf in layer():
                tree.put(leaf)
        except SettingsError as error:
            problems += error.problems

    problems += _place_environment(tree, origin)
    problems += _check_types(tree, origin.environ)
    problems += _clean_credentials(tree)
    try:
        variables = [path[-1] for path in _PATHS if tree.is_variable(path)]
        context = {"environ": origin.environ, "variables": variables}
        settings = Settings.model_validate(tree.values, context=context)
    except ValidationError as error:
        subject = Subject(model=Settings, source=tree.source, destinations=tuple(tree.destinations))
        raise SettingsError([*problems, *describe(error, subject)]) from None
    if problems:
        raise SettingsError(problems)
    settings._origin = origin
    return LoadedSettings(settings, files, tree.source)


def source_files(environ: Mapping[str, str] | None = None) -> tuple[Path, ...]:
    """The files that ``load`` would read, whether or not they exist, so that they can be watched for changes.

    Raises:
        SettingsError: DISPATCHER_ENV or DISPATCHER_SETTINGS cannot name a file.
    """
    return _Origin(with_environment_file(os.environ) if environ is None else environ, {}).files()


def _place_environment(tree: Tree, origin: _Origin) -> list[str]:
    """Put the environment's name into the tree; only a variable of its own and code may choose it."""
    path = ("environment",)
    problems = []
    if "environment" in tree.values:
        if tree.source(path) == CODE:
            return []
        message = f"it is not chosen here; set {ENVIRONMENT_VARIABLE} instead"
        problems.append(tree.problem(path, message, tree.values["environment"]))
    is_chosen = value_of(origin.environ, ENVIRONMENT_VARIABLE)
    tree.put(Leaf(path, origin.environment, ENVIRONMENT_VARIABLE if is_chosen else DEFAULT_SOURCE))
    return problems


def _check_types(tree: Tree, environ: Mapping[str, str]) -> list[str]:
    """Name the types that are not installed, and make absolute the paths that only a type knows to be paths."""
    problems = []
    for name, table in tree.destinations.items():
        type_name = table.get("type", name)
        if not isinstance(type_name, str):
            continue
        reason = unknown_type(type_name)
        if reason is None:
            problems += _expand_paths(tree, name, type_name, environ)
        elif "type" in table:
            problems.append(tree.problem(("destinations", name, "type"), reason, type_name))
        else:
            problems.append(tree.problem(("destinations", name), reason))
    return problems


def _clean_credentials(tree: Tree) -> list[str]:
    """Trim URLs and what looks like a credential by its name, and refuse what cannot be one.

    Here relays and web processes do too, which import no destination type. ``Options`` looks more closely.
    """
    problems = []
    tables: list[tuple[KeyPath, dict[str, Any]]] = [((), tree.values), (("sentry",), tree.values.get("sentry", {}))]
    tables += [(("destinations", name), table) for name, table in tree.destinations.items()]
    for path, table in tables:
        for key, value in list(table.items()) if isinstance(table, dict) else ():
            if isinstance(value, str) and (is_secret(key) or (not path and key.endswith("_url"))):
                try:
                    table[key] = clean(value)
                except ValueError as error:
                    problems.append(tree.problem((*path, key), str(error), MASK))
                    # One line is enough for it.
                    del table[key]
    return problems


def _expand_paths(tree: Tree, name: str, type_name: str, environ: Mapping[str, str]) -> list[str]:
    table = tree.destinations[name]
    problems = []
    try:
        paths = traits_of(type_name).paths
    except SettingsError:  # the schema says so
        return []
    for option in paths:
        given = table.get(option)
        try:
            if isinstance(given, str | Path):
                is_variable = tree.is_variable(("destinations", name, option))
                table[option] = str(expand(given, environ, is_variable=is_variable))
        except ValueError as error:
            problems.append(tree.problem(("destinations", name, option), str(error), str(given)))
    return problems
