"""Unreachable: a place that cannot be looked into from here, so that no receipt passes over it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from dispatcher.forgetting.change import Change
from dispatcher.forgetting.person import Person
from dispatcher.forgetting.place import Found, Watcher


class Unreachable:
    """See ``Place``.

    Args:
        name: The place's name.
        where: What it is.
        why: Why it cannot be looked into, with the way out.
    """

    def __init__(self, name: str, where: str, why: str) -> None:
        self.name: Final = name
        self._found: Final = Found(place=name, where=where, left=why)

    def look(self, person: Person, watch: Watcher) -> Iterator[Found]:
        """Says why not."""
        yield self._found

    def forget(self, person: Person, change: Change, watch: Watcher) -> Iterator[Found]:
        """Says why not."""
        yield self._found
