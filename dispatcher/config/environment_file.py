"""The environment file: variables that every process of a host shares, as systemd's ``EnvironmentFile`` has them.

A unit of systemd gives it to its process. A person's shell, a cron job and ``manage.py shell`` have no such unit, and
would be another site, in development, without a word: so dispatcher reads the same file by itself.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dispatcher.config.variables import ENVIRONMENT_VARIABLE, FILE_VARIABLE, value_of
from dispatcher.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Read where ``FILE_VARIABLE`` names no other.
DEFAULT_FILE: Final = Path("/etc/dispatcher/environment")

# One assignment, as systemd.exec(5) has it under EnvironmentFile=: the value is quoted in either way, or goes on to the
# end of the line. A backslash keeps the next character, and at the end of a line joins the next one. Comments are whole
# lines.
_COMMENT: Final = re.compile(r"[ \t]*(?:[#;][^\n]*)?(?:\n|\Z)")
_NAME: Final = re.compile(r"[ \t]*([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*")
_SINGLE: Final = re.compile(r"'([^']*)'[ \t]*(?:\n|\Z)")
_DOUBLE: Final = re.compile(r'"((?:[^"\\]|\\.)*)"[ \t]*(?:\n|\Z)', re.DOTALL)
_BARE: Final = re.compile(r"((?:[^\n\\]|\\.)*)(?:\n|\Z)", re.DOTALL)
# In double quotes a backslash is one, unless it stands before these.
_ESCAPED_IN_QUOTES: Final = re.compile(r'\\(["\\`$\n])')
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)


def environment_file(environ: Mapping[str, str]) -> Path | None:
    """The file to read: the one that ``FILE_VARIABLE`` names, else the default one if it is there; None without one."""
    named = value_of(environ, FILE_VARIABLE)
    if named:
        return Path(named)
    try:
        return DEFAULT_FILE if DEFAULT_FILE.is_file() else None
    except OSError:  # its directory may not be searched
        return DEFAULT_FILE


def with_environment_file(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment with the variables of its file; those that are set already stay as they are.

    Blocks for one small file. A default file that this user may not read counts as empty if the environment has been
    chosen already: then the process was given what it needs.

    Raises:
        SettingsError: The file cannot be read, or a line of it is not an assignment.
    """
    path = environment_file(environ)
    if path is None:
        return dict(environ)
    try:
        # A mark at its beginning is what some editors of other systems leave.
        text = path.read_text(encoding="utf-8-sig")
    except PermissionError as error:
        if path == DEFAULT_FILE and value_of(environ, ENVIRONMENT_VARIABLE):
            return dict(environ)
        remedy = f"run this as a user who may, or set {FILE_VARIABLE} to a file of your own"
        raise SettingsError([f"{path}: cannot be read: {error.strerror}: {remedy}"]) from None
    except OSError as error:
        raise SettingsError([f"{FILE_VARIABLE}: {path}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        raise SettingsError([f"{path}: not UTF-8 at byte {error.start}: save it as UTF-8"]) from None
    return {**parse_environment(text, str(path)), **environ}


def parse_environment(text: str, source: str) -> dict[str, str]:
    """The variables in the text of an environment file; of several of one name, the last.

    Args:
        text: Lines such as ``NAME=value``, ``NAME="value"``, and comments.
        source: What errors call the file.

    Raises:
        SettingsError: With the number of each line that is something else, and without what it holds.
    """
    text = text.replace("\r\n", "\n")
    found: dict[str, str] = {}
    problems: list[str] = []
    at = 0
    while at < len(text):
        comment = _COMMENT.match(text, at)
        if comment is not None and comment.end() > at:
            at = comment.end()
            continue
        name = _NAME.match(text, at)
        value = None if name is None else _value(text, name.end())
        if name is None or value is None:
            line = text.count("\n", 0, at) + 1
            problems.append(f"{source}:{line}: not an assignment such as NAME=value, without `export`")
            at = text.find("\n", at) + 1 or len(text)
            continue
        found[name[1]], at = value
    if problems:
        raise SettingsError(problems)
    return found


def _value(text: str, at: int) -> tuple[str, int] | None:
    """The value that begins there, and where the next line does; None for quotes without an end."""
    if single := _SINGLE.match(text, at):
        return single[1], single.end()
    if double := _DOUBLE.match(text, at):
        return _ESCAPED_IN_QUOTES.sub(lambda kept: "" if kept[1] == "\n" else kept[1], double[1]), double.end()
    bare = None if text[at : at + 1] in ("'", '"') else _BARE.match(text, at)
    if bare is None:
        return None
    return _ESCAPED.sub(lambda kept: "" if kept[1] == "\n" else kept[1], bare[1]).strip(" \t"), bare.end()
