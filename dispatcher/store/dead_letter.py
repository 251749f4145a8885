"""A dead letter: an event that gave up, with the reason; and which of them somebody means."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, Self

import msgspec
import zstandard

from dispatcher.event import Event, decode, users_of
from dispatcher.store.dead_event import unpack_event
from dispatcher.store.slots import split_slot, with_slot


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One event that will not be delivered unless somebody has it replayed.

    Args:
        destination: That did not get it.
        id: Its place in the stream: the time at which it died, in milliseconds, and a number; ``@`` and the number of
            its slot behind these where that is not 0.
        reason: In a word, as the ledger counts it.
        error: The last error, as a sentence.
        attempts: How often it was tried.
        payload: The event.
        count: How many events it stands for; more than one where these are gone.
        answer: What the destination answered, in its own words, cut and without credentials; may be empty.
    """

    destination: str
    id: str
    reason: str
    error: str
    attempts: int
    payload: bytes
    count: int = 1
    answer: str = ""

    @classmethod
    def from_entry(cls, destination: str, entry: Sequence[Any], *, slot: int = 0) -> Self:
        """Read an entry of the stream.

        Args:
            destination: Whose dead letter it is.
            entry: As Redis answers it.
            slot: In whose stream it is.

        Returns:
            The dead letter. Its payload is empty if the event is damaged.
        """
        letter_id, pairs = entry
        fields = {pairs[at].decode(): pairs[at + 1] for at in range(0, len(pairs), 2)}
        try:
            payload = unpack_event(fields["event"])
        except zstandard.ZstdError:
            payload = b""  # the dead letter can be seen and dropped all the same
        return cls(
            destination=destination,
            id=with_slot(letter_id.decode(), slot),
            reason=fields["reason"].decode(),
            error=fields["error"].decode(),
            attempts=int(fields["attempts"]),
            payload=payload,
            count=int(fields.get("n", 1)),
            answer=fields.get("answer", b"").decode(),
        )

    @property
    def died_ms(self) -> int:
        """When it died, in milliseconds since 1970."""
        return int(self.id.partition("-")[0])

    @property
    def place(self) -> tuple[int, int, int]:
        """Where it stands in the order in which events died: the numbers of its id."""
        return place_of(self.id)[1:]

    @property
    def event(self) -> Event | None:
        """The event, or None where it cannot be decoded."""
        try:
            return decode(self.payload)
        except (msgspec.DecodeError, RecursionError):
            return None

    @property
    def can_be_replayed(self) -> bool:
        """Whether a destination could be given its event. An event that emit could not take is only described."""
        event = self.event
        return event is not None and event.type not in ("dead", "dropped")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterFilter:
    """Which dead letters are meant. Everything that is given has to hold.

    Args:
        reason: Their reason.
        name: The event's name, or a glob of it.
        since: They died then or later.
        until: They died before then.
        ids: These only.
        event_ids: Those of these events.
        user: Those of events about this user, by the id or the name in the event's context or data.
        where: Those of events that have this text, number, true, false or null at this path: ``data.course_id``. In a
            list, one item has to have it.
        after: Those behind this one in the order of a list: the id of a dead letter and the name of its destination,
            which may be empty.
    """

    reason: str | None = None
    name: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    ids: Sequence[str] = ()
    event_ids: Sequence[str] = ()
    user: str | None = None
    where: Sequence[tuple[str, str]] = ()
    after: tuple[str, str] | None = None

    def __contains__(self, dead_letter: DeadLetter) -> bool:
        if self.reason is not None and dead_letter.reason != self.reason:
            return False
        if self.ids and dead_letter.id not in self.ids:
            return False
        if self.after is not None and _is_at_or_before(dead_letter, *self.after):
            return False
        if self.name is None and self.user is None and not self.event_ids and not self.where:
            return True
        event = dead_letter.event
        return event is not None and self._has_event(event)

    def _has_event(self, event: Event) -> bool:
        whole = {"id": event.id, "name": event.name, "type": event.type, "data": event.data, "context": event.context}
        return (
            (self.name is None or fnmatchcase(event.name, self.name))
            and (not self.event_ids or event.id in self.event_ids)
            and (self.user is None or self.user in users_of(event))
            and all(text in _texts_at(whole, path.split(".")) for path, text in self.where)
        )

    def has(self, dead_letter: DeadLetter) -> bool:
        """The same with the times, for dead letters that were not read within the ``bounds``."""
        if self.since is not None and dead_letter.died_ms < self.since.timestamp() * 1000:
            return False
        if self.until is not None and dead_letter.died_ms >= self.until.timestamp() * 1000:
            return False
        return dead_letter in self

    @property
    def bounds(self) -> tuple[str, str]:
        """The part of the stream to read, as XRANGE takes it."""
        first = "-" if self.since is None else str(int(self.since.timestamp() * 1000))
        last = "+" if self.until is None else f"({int(self.until.timestamp() * 1000)}"
        return first, last


def _is_at_or_before(dead_letter: DeadLetter, letter_id: str, destination: str) -> bool:
    here, there = place_of(dead_letter.id), place_of(letter_id)
    return here < there or (here == there and (not destination or dead_letter.destination <= destination))


def _texts_at(value: Any, path: Sequence[str]) -> set[str]:
    """The values at a path, as a person would type them: text, or a number, true, false or null as in JSON."""
    if isinstance(value, list):
        return set().union(*(_texts_at(item, path) for item in value)) if value else set()
    if not path:
        return set() if isinstance(value, dict) else {value if isinstance(value, str) else json.dumps(value)}
    if not isinstance(value, dict):
        return set()
    # A key may have full stops in it, as the names of some fields do.
    found: set[str] = set()
    for end in range(1, len(path) + 1):
        key = ".".join(path[:end])
        if key in value:
            found |= _texts_at(value[key], path[end:])
    return found


def place_of(bound: str) -> tuple[bool, int, int, int]:
    """The id of a dead letter, or a bound of XRANGE, as something that can be compared.

    Bounds that exclude end before their own place.
    """
    if bound == "+":
        return True, 0, 0, 0
    word, slot = split_slot(bound.removeprefix("("))
    milliseconds, _, number = word.partition("-")
    return False, int(milliseconds), int(number or "-1"), slot
