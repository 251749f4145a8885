"""Destinations: models of a delivery, against which the histories are checked."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Literal

from dispatcher.store.claim import Claim

Outcome = Literal["delivered", "retry", "dead", "filtered"]


def event_id(payload: bytes) -> str:
    """The id of an encoded event."""
    return payload[7:43].decode()


class Destination:
    """One destination, which counts the events that it took. A worker may die during a delivery."""

    def __init__(self, name: str) -> None:
        self.name = name
        #: How often it has each event.
        self.has: Counter[str] = Counter()
        #: Events that it filtered, as it should.
        self.filtered: set[str] = set()

    def deliver(self, claim: Claim, random: Random, *, calm: bool) -> list[Outcome]:
        """Take a batch. With ``calm`` it takes every event that it can take."""
        mood = 1.0 if calm else random.random()
        if mood < 0.1:
            return ["retry"] * len(claim.payloads)
        outcomes = [self._outcome(payload, random, picky=0.1 <= mood < 0.2) for payload in claim.payloads]
        self._take([event_id(one) for one, what in zip(claim.payloads, outcomes, strict=True) if what == "delivered"])
        if 0.2 <= mood < 0.25:
            return ["retry"] * len(claim.payloads)  # the events were taken, and the answer was lost
        return outcomes

    def _outcome(self, payload: bytes, random: Random, *, picky: bool) -> Outcome:
        if b'"name":"poison' in payload:
            return "dead"
        if b'"name":"filter' in payload:
            self.filtered.add(event_id(payload))
            return "filtered"
        return "retry" if picky and random.random() < 0.5 else "delivered"

    def _take(self, ids: list[str]) -> None:
        self.has.update(ids)


class ById(Destination):
    """Like Segment: it drops repeated events, which it recognises by their ids."""

    def _take(self, ids: list[str]) -> None:
        self.has.update(one for one in dict.fromkeys(ids) if one not in self.has)


class Log(Destination):
    """Like the tracking log: it knows for each batch id how many of its lines it has (tracking_log/appender.py)."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._written: dict[str, int] = {}

    def deliver(self, claim: Claim, random: Random, *, calm: bool) -> list[Outcome]:
        """Append the missing lines: all of them, or none if the disk is full."""
        if not calm and random.random() < 0.1:
            return ["retry"] * len(claim.payloads)
        outcomes: list[Outcome] = ["dead" if b'"name":"broken' in one else "delivered" for one in claim.payloads]
        lines = [event_id(one) for one, what in zip(claim.payloads, outcomes, strict=True) if what == "delivered"]
        self.append(claim.batch_id, lines)
        return outcomes

    def cut_short(self, claim: Claim, random: Random) -> None:
        """A worker dies during an append: the file has some whole lines, which the next append counts."""
        lines = [event_id(payload) for payload in claim.payloads if b'"name":"broken' not in payload]
        self.append(claim.batch_id, lines, limit=random.randrange(len(lines) + 1))

    def append(self, batch_id: str, lines: list[str], *, limit: int | None = None) -> None:
        """Append the lines of a batch that are not written yet, at most ``limit`` of them."""
        first = self._written.get(batch_id, 0)
        missing = lines[first:][:limit]
        if missing:
            self._written[batch_id] = first + len(missing)
            self.has.update(missing)
