"""Paths in settings: ``~`` and ``$VARIABLES`` are expanded only here, so that every process means the same file."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dispatcher.config.credential import QUOTES

if TYPE_CHECKING:
    from collections.abc import Mapping

_VARIABLE: Final = re.compile(r"\$(?:(\$)|(\w+)|\{(\w+)\})")


def expand(path: str | Path, environ: Mapping[str, str], *, is_variable: bool = False) -> Path:
    """The absolute path, with ``~``, ``$NAME`` and ``${NAME}`` replaced, and ``$$`` by a dollar sign.

    Args:
        path: As it is written.
        environ: The environment.
        is_variable: Whether a variable says it. Then it must not be relative: the processes that share a variable start
            in different directories.

    Raises:
        ValueError: A variable is not set, a user has no home directory, or the path is empty, relative or in quotation
            marks; the message says which.
    """
    text = os.fspath(path)
    if text and text[0] in QUOTES:
        raise ValueError("it has quotation marks around it; take them away")
    for name in {found[2] or found[3] for found in _VARIABLE.finditer(text) if not found[1]}:
        if name not in environ:
            raise ValueError(f"it uses ${name}, and no environment variable of that name is set; a dollar sign is $$")
    text = _VARIABLE.sub(lambda found: found[1] or environ[found[2] or found[3]], text)
    if not text:
        raise ValueError("it must not be empty")
    if "\0" in text:
        raise ValueError("it must not hold a NUL character")
    if text == "~" or text.startswith("~/"):
        text = str(_home(environ)) + text[1:]
    if is_variable and not text.startswith(("/", "~")):
        raise ValueError("it is relative, and would be another path in each current directory; begin it with / or ~/")
    try:
        # Made absolute now: a later chdir of the web server would otherwise move the outbox.
        return Path(text).expanduser().absolute()
    except RuntimeError:
        raise ValueError("no user of that name has a home directory; give an absolute path") from None


def default_state_directory(environ: Mapping[str, str]) -> Path:
    """``$XDG_STATE_HOME/dispatcher``, else ``~/.local/state/dispatcher``. Raises ValueError without a home."""
    state_home = environ.get("XDG_STATE_HOME", "")
    # The XDG specification has relative values ignored.
    parent = Path(state_home) if state_home.startswith("/") else _home(environ) / ".local" / "state"
    return parent / "dispatcher"


def _home(environ: Mapping[str, str]) -> Path:
    home = environ.get("HOME", "") or os.path.expanduser("~")
    if not home.startswith("/"):
        raise ValueError("this user has no home directory; give an absolute path as DISPATCHER_STATE_DIRECTORY")
    return Path(home)
