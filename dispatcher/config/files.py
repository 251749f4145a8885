"""Which files hold the settings: base.toml and the environment's own, shipped with the package or the site's."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dispatcher.config.paths import expand
from dispatcher.config.variables import DIRECTORY_VARIABLE, ENVIRONMENT_VARIABLE, value_of
from dispatcher.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_ENVIRONMENT: Final = "development"

# It becomes part of a file's name.
_ENVIRONMENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")

_PACKAGE: Final = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Location:
    """Where an environment's settings are. ``directory`` is None when a single file was named."""

    environment: str
    base: Path
    own: Path
    directory: Path | None


def shipped_directory() -> Path:
    """The settings that come with dispatcher: inside the installed package, beside it in a source checkout."""
    inside = _PACKAGE / "settings"
    return inside if (inside / "base.toml").is_file() else _PACKAGE.parent / "settings"


def locate(environ: Mapping[str, str], environment: str) -> Location:
    """Where the settings are; whether the files exist is not looked at, but for a base.toml of the site's own.

    Raises:
        SettingsError: The environment's name cannot be part of a file's, or DISPATCHER_SETTINGS not be expanded.
    """
    if not _ENVIRONMENT.fullmatch(environment) or environment == "base":
        raise SettingsError([f"{ENVIRONMENT_VARIABLE}: {environment!r} is not an environment; such as production"])
    shipped = shipped_directory()
    named = value_of(environ, DIRECTORY_VARIABLE)
    if not named:
        return Location(environment, shipped / "base.toml", shipped / f"{environment}.toml", shipped)
    path = _expanded(named, environ)
    if path.suffix == ".toml" and not path.is_dir():
        return Location(environment, shipped / "base.toml", path, None)
    base = path / "base.toml"
    base = base if base.is_file() else shipped / "base.toml"
    return Location(environment, base, path / f"{environment}.toml", path)


def missing(location: Location) -> list[str]:
    """One line for each file that should be there and is not, with what there is instead."""
    problems = []
    if not location.base.is_file():
        problems.append(f"{location.base}: the settings that come with dispatcher are missing; install it again")
    if not location.own.is_file():
        problems.append(_missing_environment(location))
    return problems


def _missing_environment(location: Location) -> str:
    directory, environment = location.directory, location.environment
    if directory is None:
        return f"{DIRECTORY_VARIABLE}: {location.own}: there is no such file"
    if not directory.is_dir():
        return f"{DIRECTORY_VARIABLE}: {directory}: there is no such directory, nor a .toml file of that name"
    known = sorted(path.stem for path in directory.glob("*.toml") if path.stem != "base")
    close = get_close_matches(environment, known, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    there = f"it has {', '.join(known)}" if known else "it has no environments"
    return (
        f"{ENVIRONMENT_VARIABLE}: there is no environment {environment!r} in {directory}: {hint}{there}; "
        f"set {ENVIRONMENT_VARIABLE}, or add {environment}.toml"
    )


def _expanded(named: str, environ: Mapping[str, str]) -> Path:
    try:
        return expand(named, environ)
    except ValueError as error:
        raise SettingsError([f"{DIRECTORY_VARIABLE}: {named}: {error}"]) from None
