"""Usage: click's errors for what was typed wrongly, without what was typed, which may be a person's or a secret."""

from __future__ import annotations

import re
from typing import Final

# How click's own types go on behind the value that they repeat (click 8.1 to 8.5, click/types.py).
_VALUE: Final = re.compile(
    r"^.* (?=(?:is not (?:a valid|one of|in the range)|does not match the formats?|must be a time) )", re.DOTALL
)
_EXTRA: Final = re.compile(r"(unexpected extra arguments?) \(.*\)", re.DOTALL)
# What follows these words is shown only where it looks like what it is taken for: a name, a path.
_NAMED: Final = re.compile(r"^(No such (?:command|option):? )(.*?)(\.?)$", re.DOTALL)
_NAME: Final = re.compile(r"'?[a-zA-Z-][a-zA-Z-]{0,40}'?")
_PATH: Final = re.compile(r"((?:File|Directory|Path) )(['\"].*['\"])( (?:does not exist|is ).*)$", re.DOTALL)
_PLAIN_PATH: Final = re.compile(r"['\"][\w./~+-]{1,200}['\"]")


def without_value(message: str) -> str:
    """The message of a click.UsageError with the option and what is wanted, and without the value that was typed.

    Args:
        message: As click or one of this package's types wrote it.

    Returns:
        The message; names of commands and options and plain paths stay in it.
    """
    message = _EXTRA.sub(r"\1", _VALUE.sub("it ", message))
    named, path = _NAMED.match(message), _PATH.match(message)
    if named is not None and _NAME.fullmatch(named[2]) is None:
        return f"{named[1].rstrip(': ')} as that one: see --help"
    if path is not None and _PLAIN_PATH.fullmatch(path[2]) is None:
        return f"the {path[1].lower()}that was given{path[3]}"
    return message
