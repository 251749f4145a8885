"""Allowlists as settings hold them. ``dispatcher.routing`` says what is on one."""

from __future__ import annotations

from typing import Annotated

from dispatcher.config.base import checked_by


def check_allowlist(entries: tuple[str, ...] | None) -> None:
    """Raise ValueError where an entry is not a name, a glob or an exception, or all of them are exceptions."""
    entries = entries or ()
    for entry in entries:
        pattern = entry.removeprefix("!")
        if not pattern or pattern != pattern.strip() or pattern.startswith("!"):
            raise ValueError(f'{entry!r} must be a name, a glob such as "edx.course.*", or one of them after a "!"')
    if entries and all(entry.startswith("!") for entry in entries):
        raise ValueError('it holds only exceptions, so that nothing would match; add "*" if everything else should')


#: Names, globs, and exceptions after a ``!``; None for a table without one.
Allowlist = Annotated[tuple[str, ...] | None, checked_by(check_allowlist)]
