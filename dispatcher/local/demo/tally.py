"""Tally: what was emitted against what is at both ends, by the ids in the files alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from dispatcher.local.demo.recorded import Feed
    from dispatcher.local.demo.visits import Emitted
    from dispatcher.routing import Explanation, Router

#: The calls to Segment that the shop makes beside its events.
_CALLS = {"identify"}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that has to hold."""

    holds: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class Landing:
    """Where the events of one name went, and why, by the settings."""

    name: str
    emitted: int
    logged: int
    sent: int
    segment: Explanation


@dataclass(frozen=True)
class Tally:
    """Everything that can be counted once nothing waits.

    Args:
        shop: The events that the shop's answers named.
        recorded: The events of a file.
        lines: The lines of the tracking log.
        messages: What Segment's stand-in received.
        ledger: What `dispatcher status --json` printed.
        router: The rules that applied.
    """

    shop: Sequence[Emitted]
    recorded: Feed
    lines: Sequence[Mapping[str, Any]]
    messages: Sequence[Mapping[str, Any]]
    ledger: Mapping[str, Any] = field(repr=False)
    router: Router

    @cached_property
    def logged(self) -> Counter[str]:
        """How often each id is in the tracking log."""
        return Counter(str(line["context"].get("event_id")) for line in self.lines)

    @cached_property
    def sent(self) -> Counter[str]:
        """How often Segment's stand-in received each id."""
        return Counter(str(message.get("messageId")) for message in self.messages)

    def landings(self) -> list[Landing]:
        """A row for each name: the shop's in the order of a visit, then the file's, those for Segment first."""
        shop = [self._landing(name, events) for name, events in _by_name(self.shop).items()]
        recorded = [self._landing(name, events) for name, events in sorted(_by_name(self.recorded.events).items())]
        return [*shop, *sorted(recorded, key=lambda landing: not landing.segment.goes)]

    def checks(self) -> list[Check]:
        """Whether everything adds up."""
        return [self._check_log(), self._check_segment(), self._check_ledger()]

    def _landing(self, name: str, events: Sequence[Emitted]) -> Landing:
        ids = {event.id for event in events}
        logged, sent = (sum(found[event_id] for event_id in ids) for found in (self.logged, self.sent))
        return Landing(name, len(events), logged, sent, self._explain(name))

    def _explain(self, name: str) -> Explanation:
        event_type: Any = name if name in _CALLS else "event"
        explanations = self.router.explain(name, event_type)
        return next(explanation for explanation in explanations if explanation.destination == "segment")

    def _check_log(self) -> Check:
        must = Counter(event.id for event in self.shop if event.name not in _CALLS)
        may = must + Counter(event.id for event in self.recorded.events)
        emitted = must.total() + self.recorded.taken
        dead = self.ledger["destinations"]["tracking_log"]["dead"]
        holds = must <= self.logged <= may and self.logged.total() + dead == emitted
        sentence = (
            f"{emitted:,} events emitted, {len(self.lines):,} lines in the tracking log, {_once(self.logged, may)}"
        )
        return Check(holds, sentence + _and_dead(dead))

    def _check_segment(self) -> Check:
        everything = (*self.shop, *self.recorded.events)
        meant = {event.id for event in everything if self._explain(event.name).goes}
        # Of the file only the events that were taken: the log holds those.
        expected = Counter(event.id for event in self.shop if event.id in meant)
        expected += Counter({key: n for key, n in (self.logged - expected).items() if key in meant})
        dead = self.ledger["destinations"]["segment"]["dead"]
        holds = self.sent <= expected and self.sent.total() + dead == expected.total()
        sentence = f"{expected.total():,} of them are for Segment, {len(self.messages):,} messages there"
        return Check(holds, f"{sentence}, {_once(self.sent, expected)}{_and_dead(dead)}")

    def _check_ledger(self) -> Check:
        found = {"tracking_log": len(self.lines), "segment": len(self.messages)}
        holds = all(
            counts["closes"] and counts["waiting"] == 0 and counts["delivered"] == found[name]
            for name, counts in self.ledger["destinations"].items()
            if name in found
        )
        return Check(holds, "the ledger closes, says the same of both, and nothing waits")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON lines of a file; none if it does not exist."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _by_name(events: Iterable[Emitted]) -> dict[str, list[Emitted]]:
    names: dict[str, list[Emitted]] = {}
    for event in events:
        names.setdefault(event.name, []).append(event)
    return names


def _once(found: Counter[str], allowed: Counter[str]) -> str:
    twice, unknown = (found - allowed).keys() & allowed.keys(), found.keys() - allowed.keys()
    if not twice and not unknown:
        return "each once"
    return f"{len(twice):,} of them more than once, {len(unknown):,} that nobody emitted"


def _and_dead(dead: int) -> str:
    return f", {dead:,} dead" if dead else ""
