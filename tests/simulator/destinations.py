"""Destinations: models of what becomes of a delivery, by which the histories are judged."""

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
    """One destination, which keeps what it took. A worker may die in the middle of a delivery.

    Args:
        name: The destination's.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        #: How often it has each event.
        self.has: Counter[str] = Counter()
        #: What it left out, and was right to.
        self.filtered: set[str] = set()

    def deliver(self, claim: Claim, random: Random, *, calm: bool) -> list[Outcome]:
        """Take a batch. With ``calm`` it takes all that can be taken."""
        mood = 1.0 if calm else random.random()
        if mood < 0.1:
            return ["retry"] * len(claim.payloads)
        outcomes = [self._outcome(payload, random, picky=0.1 <= mood < 0.2) for payload in claim.payloads]
        self._take([event_id(one) for one, what in zip(claim.payloads, outcomes, strict=True) if what == "delivered"])
        if 0.2 <= mood < 0.25:
            return ["retry"] * len(claim.payloads)  # it took them, and its answer was lost
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
    """As Segment: what comes again is dropped, by its id."""

    def _take(self, ids: list[str]) -> None:
        self.has.update(one for one in dict.fromkeys(ids) if one not in self.has)


class Log(Destination):
    """As the tracking log: it knows by a batch's id how many of its lines it has (tracking_log/appender.py)."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._written: dict[str, int] = {}

    def deliver(self, claim: Claim, random: Random, *, calm: bool) -> list[Outcome]:
        """Append the lines that are missing: all, none when the disk is full, some when the worker dies."""
        if not calm and random.random() < 0.1:
            return ["retry"] * len(claim.payloads)
        outcomes: list[Outcome] = ["dead" if b'"name":"broken' in one else "delivered" for one in claim.payloads]
        lines = [event_id(one) for one, what in zip(claim.payloads, outcomes, strict=True) if what == "delivered"]
        self.append(claim.batch_id, lines)
        return outcomes

    def cut_short(self, claim: Claim, random: Random) -> None:
        """A worker dies within an append: some whole lines are in the file, and the next turn notes how many."""
        lines = [event_id(payload) for payload in claim.payloads if b'"name":"broken' not in payload]
        self.append(claim.batch_id, lines, most=random.randrange(len(lines) + 1))

    def append(self, batch_id: str, lines: list[str], *, most: int | None = None) -> None:
        """Append a batch's lines beyond those that are known, up to ``most`` of them."""
        first = self._written.get(batch_id, 0)
        missing = lines[first:][:most]
        if missing:
            self._written[batch_id] = first + len(missing)
            self.has.update(missing)
