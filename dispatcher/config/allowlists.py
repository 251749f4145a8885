"""What an allowlist may hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def check_allowlist(entries: Iterable[str]) -> None:
    """Raise ValueError unless every entry is a name, a glob or an exception, and something could be on the list."""
    entries = tuple(entries)
    for entry in entries:
        pattern = entry.removeprefix("!")
        if not pattern or pattern != pattern.strip() or pattern.startswith("!"):
            raise ValueError(f'{entry!r} must be a name, a glob such as "edx.course.*", or one of them after a "!"')
    if entries and all(entry.startswith("!") for entry in entries):
        raise ValueError('it holds exceptions only, so that nothing would match; add "*" if everything else should')
