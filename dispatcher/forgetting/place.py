"""Place: what every place does in which events of a person may be, and what it says that it has found there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec

from dispatcher.forgetting.change import Change
from dispatcher.forgetting.person import Person

#: Told how much is done, now and then: what is being looked through, and how many bytes of how many; 0 where unknown.
Watcher = Callable[[str, int, int], None]


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What one place has of a person, or what was taken out of it.

    Args:
        place: The place's name.
        where: The file, the key or the service; never an identifier of the person.
        events: How many events name the person; of a service that is only asked to delete, 1 for each request.
        of: How many events it has in all; 0 where nobody knows.
        left: Why it could not be looked into, or why something stays there, with the way out; empty where all is done.
    """

    place: str
    where: str
    events: int = 0
    of: int = 0
    left: str = ""


class Place(Protocol):
    """A kind of place: a tracking log with its rotated files, an export, dead letters, a service.

    Both methods block for as long as reading takes, and may be called again at any time: after a kill, ``forget`` goes
    on with what is left. What goes wrong with one file is said in its ``left``, and the others are looked into.
    """

    @property
    def name(self) -> str:
        """Such as ``tracking_log``: for people and in the receipt."""
        ...

    def look(self, person: Person, watch: Watcher) -> Iterator[Found]:
        """What there is of the person. Changes nothing. Yields for what has nothing too, so that it is counted."""
        ...

    def forget(self, person: Person, change: Change, watch: Watcher) -> Iterator[Found]:
        """Take the person out. Yields what was taken out, and what is left.

        Args:
            person: Who is forgotten.
            change: What becomes of the events that name the person where they are kept. What is on its way, and what a
                vendor has, goes whatever it says.
            watch: Told how far it is.
        """
        ...
