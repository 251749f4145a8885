"""ByDestination: a place in Redis that has events of each destination apart."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from typing import ClassVar

from dispatcher.forgetting.change import Change, Deletion
from dispatcher.forgetting.person import Person
from dispatcher.forgetting.place import Found, Watcher


class ByDestination(ABC):
    """See ``Place``. Methods raise StoreUnavailableError.

    Args:
        destinations: Their names.
        own: The names of those that keep events on this site, where events under pseudonyms may arrive. A vendor would
            take a pseudonym for somebody new, so that what is on the way to one goes.
    """

    name: ClassVar[str]

    def __init__(self, destinations: Sequence[str], own: Collection[str] = ()) -> None:
        self._destinations = destinations
        self._own = own

    def look(self, person: Person, watch: Watcher) -> Iterator[Found]:
        """How many events of each destination name the person."""
        for number, destination in enumerate(self._destinations):
            watch(self.name, number, len(self._destinations))
            yield self._go_through(destination, person, None)

    def forget(self, person: Person, change: Change, watch: Watcher) -> Iterator[Found]:
        """Change those of own destinations, and take the others out."""
        for number, destination in enumerate(self._destinations):
            watch(self.name, number, len(self._destinations))
            yield self._go_through(destination, person, change if destination in self._own else Deletion())

    @abstractmethod
    def _go_through(self, destination: str, person: Person, change: Change | None) -> Found:
        """What one destination has of the person, and what becomes of it; None: nothing."""
