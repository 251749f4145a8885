"""Waiting: what waits in the batch store, and for pages of its visitors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.errors import BatchDamagedError
from dispatcher.forgetting.change import Change
from dispatcher.forgetting.person import Person
from dispatcher.forgetting.place import Found, Watcher
from dispatcher.store.mailboxes import Mailboxes
from dispatcher.store.posted_events import PostedEvents
from dispatcher.store.waiting_batches import WaitingBatches
from dispatcher.suppression.tombstone import tombstone

_decode: Final = msgspec.json.Decoder().decode


def names_in_payload(person: Person, payload: bytes) -> bool:
    """Whether an encoded event names the person; False for other bytes."""
    try:
        return person.is_named_in(_decode(payload))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return False


class Waiting:
    """The batches of all destinations. Their events are replaced by tombstones, so that their counts stay true.

    Methods raise StoreUnavailableError.

    Args:
        pool: The batch store's Redis.
        destinations: Their names.
    """

    name = "waiting"

    def __init__(self, pool: RedisPool, destinations: Sequence[str]) -> None:
        self._batches = WaitingBatches(pool)
        self._destinations = destinations

    def look(self, person: Person, watch: Watcher) -> Iterator[Found]:
        """How many events that wait for each destination name the person."""
        for number, destination in enumerate(self._destinations):
            watch(self.name, number, len(self._destinations))
            yield self._go_through(destination, person, is_change=False)

    def forget(self, person: Person, change: Change, watch: Watcher) -> Iterator[Found]:
        """Put tombstones in their places. A batch that a worker is delivering may arrive all the same."""
        for number, destination in enumerate(self._destinations):
            watch(self.name, number, len(self._destinations))
            yield self._go_through(destination, person, is_change=True)

    def _go_through(self, destination: str, person: Person, *, is_change: bool) -> Found:
        counts: Counter[str] = Counter()
        for batch in self._batches.select(destination):
            try:
                payloads = self._batches.events(destination, batch.id) or ()
            except BatchDamagedError:
                counts["damaged"] += 1
                continue
            named = [names_in_payload(person, payload) for payload in payloads]
            counts["of"] += len(payloads)
            if not any(named):
                continue
            if is_change:
                kept = [tombstone(one) if is_named else one for one, is_named in zip(payloads, named, strict=True)]
                if not self._batches.replace_events(destination, batch.id, payloads, kept):
                    counts["moved"] += sum(named)
                    continue
            counts["events"] += sum(named)
        return Found(
            place=self.name, where=destination, events=counts["events"], of=counts["of"], left=_left_of(counts)
        )


class Posted:
    """The events that wait for pages. Those of the person count as filtered, for want of consent.

    Methods raise StoreUnavailableError.

    Args:
        pool: The batch store's Redis.
        destinations: The names of those that pages take events for.
    """

    name = "posted"

    def __init__(self, pool: RedisPool, destinations: Sequence[str]) -> None:
        self._events = PostedEvents(pool)
        self._mailboxes = Mailboxes(pool)
        self._destinations = destinations

    def look(self, person: Person, watch: Watcher) -> Iterator[Found]:
        """How many events that wait for a page name the person."""
        for destination in self._destinations:
            watch(self.name, 0, 0)
            named = [names_in_payload(person, event.payload) for event in self._events.select(destination)]
            yield Found(place=self.name, where=destination, events=sum(named), of=len(named))

    def forget(self, person: Person, change: Change, watch: Watcher) -> Iterator[Found]:
        """Take them out of their mailboxes."""
        for destination in self._destinations:
            watch(self.name, 0, 0)
            events = list(self._events.select(destination))
            named = [event for event in events if names_in_payload(person, event.payload)]
            for event in named:
                self._mailboxes.acknowledge([event.mailbox], {destination: [(event.id, "no_consent")]})
            yield Found(place=self.name, where=destination, events=len(named), of=len(events))


def _left_of(counts: Counter[str]) -> str:
    if counts["moved"]:
        return f"{counts['moved']} events were settled meanwhile, perhaps delivered: run it again"
    if counts["damaged"]:
        return f"{counts['damaged']} batches are damaged and cannot be read: they become dead letters"
    return ""
