"""Which files hold the settings: base.toml and the environment's own, shipped with the package or the site's."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dispatcher.config.paths import expand
from dispatcher.config.spelling import nearest
from dispatcher.config.variables import DIRECTORY_VARIABLE, ENVIRONMENT_VARIABLE, value_of
from dispatcher.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_ENVIRONMENT: Final = "development"

# It becomes part of a file's name.
_ENVIRONMENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")

#: The settings that come with dispatcher. In a checkout this is a link to the folder at its top.
SHIPPED: Final = Path(__file__).resolve().parents[1] / "settings"


@dataclass(frozen=True, slots=True)
class Location:
    """Where an environment's settings are.

    Args:
        environment: The environment's name.
        base: The file for every environment.
        own: The environment's own file.
        directory: The folder of ``own``; None when a single file was named.
    """

    environment: str
    base: Path
    own: Path
    directory: Path | None


def locate(environ: Mapping[str, str], environment: str) -> Location:
    """Where the settings are, whether or not they exist. A site that has no base.toml of its own gets the shipped one.

    Raises:
        SettingsError: The environment's name cannot be part of a file's, or DISPATCHER_SETTINGS cannot be expanded.
    """
    if not _ENVIRONMENT.fullmatch(environment) or environment == "base":
        raise SettingsError([f"{ENVIRONMENT_VARIABLE}: {environment!r} is not an environment; such as production"])
    named = value_of(environ, DIRECTORY_VARIABLE)
    if not named:
        return Location(environment, SHIPPED / "base.toml", SHIPPED / f"{environment}.toml", SHIPPED)
    try:
        path = expand(named, environ, is_variable=True)
    except ValueError as error:
        raise SettingsError([f"{DIRECTORY_VARIABLE}: {named}: {error}"]) from None
    if path.suffix == ".toml" and not os.path.isdir(path):
        return Location(environment, SHIPPED / "base.toml", path, None)
    base = path / "base.toml"
    base = SHIPPED / "base.toml" if obstacle(base) == "" else base
    return Location(environment, base, path / f"{environment}.toml", path)


def obstacle(path: Path) -> str | None:
    """Why a path cannot be read as a file; None for a file, and empty for one that does not exist."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if stat.S_ISDIR(mode):
        return "it is a directory, not a file"
    return None if stat.S_ISREG(mode) else "it is not a file"


def missing_files(location: Location) -> list[str]:
    """One line for each file that should be there and is not, with what exists instead."""
    problems = []
    for path in (location.base, location.own):
        reason = obstacle(path)
        if reason:
            problems.append(f"{path}: {reason}")
        elif reason is not None and path == location.base:
            problems.append(f"{path}: the settings that come with dispatcher are missing; install it again")
        elif reason is not None:
            problems.append(_missing_environment(location))
    return problems


def _missing_environment(location: Location) -> str:
    directory, environment = location.directory, location.environment
    if directory is None:
        return f"{DIRECTORY_VARIABLE}: {location.own}: the file does not exist"
    if not os.path.isdir(directory):
        return f"{DIRECTORY_VARIABLE}: {directory}: neither a directory nor a .toml file of that name exists"
    if not os.access(directory, os.R_OK | os.X_OK):
        return f"{DIRECTORY_VARIABLE}: {directory}: this user may not read the directory"
    known = sorted(path.stem for path in directory.glob("*.toml") if path.stem != "base")
    close = nearest(environment, known)
    hint = f"did you mean {close!r}? " if close else ""
    return (
        f"{ENVIRONMENT_VARIABLE}: {directory} lacks the environment {environment!r}: {hint}"
        f"it has {', '.join(known) or 'none'}; "
        f"set {ENVIRONMENT_VARIABLE}, or add {environment}.toml"
    )
