"""Rescue: what an operator needs to see where the events are, of settings that cannot be used."""

from __future__ import annotations

import os
import tomllib
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from dispatcher.config.layers import Tree, environment_leaves, file_leaves, override_leaves
from dispatcher.config.loading import source_files
from dispatcher.config.schema import Settings
from dispatcher.config.variables import variable_name
from dispatcher.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# Where Redis is, and where the outboxes are. Everything else may be as wrong as it likes.
_NEEDED: Final = (
    ("broker_url",),
    ("store_url",),
    ("state_directory",),
    ("outbox", "directory"),
    ("outbox", "max_bytes"),
)


def rescue(error: SettingsError, environ: Mapping[str, str] | None = None) -> Settings:
    """The addresses and directories of settings that cannot be used, without any destination.

    A file that is not TOML is read up to the line of its first mistake: the URL stands at the top. Reads two files.

    Args:
        error: Why the settings cannot be used.
        environ: The environment variables; the process's own when None.

    Raises:
        SettingsError: ``error`` itself, where one of these addresses or directories is the mistake.
    """
    environ = os.environ if environ is None else environ
    names = {variable_name(path) for path in _NEEDED}
    try:
        layers = [_leaves_before_mistake(file) for file in source_files(environ)]
    except SettingsError:
        raise error from None
    layers.append(environment_leaves({name: text for name, text in environ.items() if name.upper() in names}))
    tree = Tree()
    for leaf in (leaf for layer in layers for leaf in layer if leaf.path in _NEEDED):
        tree.put(leaf)
    try:
        return Settings.model_validate(tree.values, context={"environ": environ})
    except ValidationError:
        raise error from None


def _leaves_before_mistake(path: Path) -> list[Any]:
    """What a file says above its first mistake; nothing if it cannot be read."""
    try:
        return list(file_leaves(path))
    except SettingsError:
        pass
    try:
        lines = path.read_bytes().decode("utf-8", "replace").splitlines(keepends=True)
    except OSError:
        return []
    # From the longest part on, since a mistake may begin long before the parser notices it, as with a missing quote.
    for end in range(len(lines), 0, -1):
        try:
            return list(override_leaves(tomllib.loads("".join(lines[:end]))))
        except tomllib.TOMLDecodeError:
            continue
    return []
