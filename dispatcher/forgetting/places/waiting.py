"""Waiting: what waits in the batch store, and for pages of its visitors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.errors import BatchDamagedError
from dispatcher.forgetting.change import Change
from dispatcher.forgetting.payload import change_payload, names_in_payload
from dispatcher.forgetting.person import Person
from dispatcher.forgetting.place import Found
from dispatcher.forgetting.places.by_destination import ByDestination
from dispatcher.store.mailboxes import Mailboxes
from dispatcher.store.posted_events import PostedEvents
from dispatcher.store.waiting_batches import WaitingBatches


class Waiting(ByDestination):
    """The batches of all destinations. Tombstones take the places of events that go, so that their counts stay true.

    A batch that a worker is delivering may arrive all the same.

    Args:
        pool: The batch store's Redis.
        destinations: Their names.
        own: See ``ByDestination``.
    """

    name = "waiting"

    def __init__(self, pool: RedisPool, destinations: Sequence[str], own: Collection[str]) -> None:
        super().__init__(destinations, own)
        self._batches = WaitingBatches(pool)

    def _go_through(self, destination: str, person: Person, change: Change | None) -> Found:
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
            if change is not None:
                kept = [
                    change_payload(one, change) if is_named else one
                    for one, is_named in zip(payloads, named, strict=True)
                ]
                if not self._batches.replace_events(destination, batch.id, payloads, kept):
                    counts["moved"] += sum(named)
                    continue
            counts["events"] += sum(named)
        return Found(
            place=self.name, where=destination, events=counts["events"], of=counts["of"], left=_left_of(counts)
        )


class Posted(ByDestination):
    """The events that wait for pages. Those of the person leave their mailboxes, as filtered for want of consent.

    Args:
        pool: The batch store's Redis.
        destinations: The names of those that pages take events for.
    """

    name = "posted"

    def __init__(self, pool: RedisPool, destinations: Sequence[str]) -> None:
        super().__init__(destinations)
        self._events = PostedEvents(pool)
        self._mailboxes = Mailboxes(pool)

    def _go_through(self, destination: str, person: Person, change: Change | None) -> Found:
        events = list(self._events.select(destination))
        named = [event for event in events if names_in_payload(person, event.payload)]
        if change is not None:
            for event in named:
                self._mailboxes.acknowledge([event.mailbox], {destination: [(event.id, "no_consent")]})
        return Found(place=self.name, where=destination, events=len(named), of=len(events))


def _left_of(counts: Counter[str]) -> str:
    if counts["moved"]:
        return f"{counts['moved']} events were settled meanwhile, perhaps delivered: run it again"
    if counts["damaged"]:
        return f"{counts['damaged']} batches are damaged and cannot be read: they become dead letters"
    return ""
