"""Routing: which destinations an event goes to, and why. Pure: it reads only the settings that it was given."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from fnmatch import translate
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from dispatcher.event import DIRECT_TYPES
from dispatcher.outcomes import (
    DEAD_EVENT,
    DIRECT,
    DISABLED,
    EXCLUDED,
    INTERNAL,
    NOT_ON_ALLOWLIST,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dispatcher.config import DestinationSettings, Settings
    from dispatcher.event import EventType

# Names come from users' browsers, which could fill the memory by way of a cache without a bound.
_CACHED_ROUTES: Final = 10_000
_CACHED_NAME_CHARACTERS: Final = 255

# Below this likeness, between 0 and 1, a suggestion would only mislead.
_MIN_LIKENESS: Final = 0.6


@dataclass(frozen=True, slots=True)
class Routes:
    """Where events of one name and type go.

    Args:
        destinations: Their names, in the order of the settings.
        skipped: The reason of ``dispatcher.outcomes`` for each of the others.
    """

    destinations: tuple[str, ...]
    skipped: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why an event goes to a destination or does not.

    Args:
        destination: The destination's name.
        goes: Whether the event goes there.
        sentence: Why, for a person.
        reason: Why not, in a word of ``dispatcher.outcomes``; None when it goes.
        entry: The entry of a list that decided it; None where no entry did.
        nearest: The allowlist entry that may have been meant; None where an entry matches or none is near.
    """

    destination: str
    goes: bool
    sentence: str
    reason: str | None = None
    entry: str | None = None
    nearest: str | None = None


class Allowlist:
    """Names, ``*`` and ``?`` globs, and exceptions after a ``!``. Their order does not matter; case does.

    A name is on the list when an entry matches it and no exception does.
    """

    def __init__(self, entries: Iterable[str]) -> None:
        self.entries = tuple(entries)
        self._allowed = _PatternSet(entry for entry in self.entries if not entry.startswith("!"))
        self._excluded = _PatternSet(entry[1:] for entry in self.entries if entry.startswith("!"))

    def __contains__(self, name: str) -> bool:
        return self.entry_for(name) is not None and self.exception_for(name) is None

    def entry_for(self, name: str) -> str | None:
        """The entry that matches the name, whether or not an exception does too. None where no entry does."""
        return self._allowed.find(name)

    def exception_for(self, name: str) -> str | None:
        """The exception that matches the name, with its ``!``. None where no exception does."""
        exception = self._excluded.find(name)
        return None if exception is None else f"!{exception}"

    def nearest(self, name: str) -> str | None:
        """The entry most like the name; None where no entry is near. One that differs by case only is nearest."""
        allowed = [entry for entry in self.entries if not entry.startswith("!")]
        likeness, entry = max(((_likeness(name, entry), entry) for entry in allowed), default=(0.0, ""))
        return entry if likeness >= _MIN_LIKENESS else None


class Router:
    """Decides by the name and type of an event. Immutable but for its cache; safe in threads and after a fork.

    Args:
        settings: Of these, ``destinations`` and ``internal_events``. Make a new router after a change.
    """

    def __init__(self, settings: Settings) -> None:
        self._internal = Allowlist(settings.internal_events)
        self._rules = tuple(_Rule(name, table) for name, table in settings.destinations.items())
        self._cache: dict[tuple[str, str], Routes] = {}

    def route(self, name: str, type: EventType = "event") -> Routes:
        """Where an event goes. After the first event of a name and type, this takes one look into a dict."""
        cached = self._cache.get((type, name))
        if cached is not None:
            return cached
        explanations = self._explain(name, type)
        skipped = {each.destination: each.reason for each in explanations if each.reason is not None}
        destinations = tuple(each.destination for each in explanations if each.goes)
        routes = Routes(destinations, MappingProxyType(skipped))
        if len(name) <= _CACHED_NAME_CHARACTERS:
            if len(self._cache) >= _CACHED_ROUTES:
                self._cache.clear()
            self._cache[type, name] = routes
        return routes

    def explain(self, name: str, type: EventType = "event") -> list[Explanation]:
        """Why an event goes or does not go to each destination, in the order of the settings.

        Where no entry of an allowlist matches, the explanation has the nearest one. To find it is slow for long names,
        which is right for people and not for the relay.
        """
        return [
            replace(each, nearest=rule.allowlist.nearest(name)) if each.reason == NOT_ON_ALLOWLIST else each
            for rule, each in zip(self._rules, self._explain(name, type), strict=True)
        ]

    def is_internal(self, name: str) -> bool:
        """Whether ``internal_events`` names the event."""
        return name in self._internal

    def _explain(self, name: str, type: EventType) -> list[Explanation]:
        internal_entry = self._internal.entry_for(name) if self.is_internal(name) else None
        return [rule.explain(name, type, internal_entry) for rule in self._rules]


class _Rule:
    """Decides for one destination."""

    def __init__(self, name: str, table: DestinationSettings) -> None:
        self.name = name
        self._table = table
        self._traits = table.traits
        unlisted = ("*",) if self._traits.takes_all_events else ()
        self.allowlist = Allowlist(unlisted if table.events is None else table.events)

    def explain(self, name: str, type: EventType, internal_entry: str | None) -> Explanation:
        if not self._table.enabled:
            return self._skip(DISABLED, f"destinations.{self.name}.enabled is false")
        if type == "dead":
            return self._skip(DEAD_EVENT, "a dead event is kept for a person to look at and goes nowhere")
        if type in DIRECT_TYPES:
            if self._traits.takes_direct_calls:
                return Explanation(destination=self.name, goes=True, sentence=f"{type} is a call to Segment")
            return self._skip(DIRECT, f"{type} is a call to Segment and goes nowhere else")
        if internal_entry is not None and not self._table.internal:
            sentence = f"it is internal, and destinations.{self.name}.internal is false"
            return self._skip(INTERNAL, sentence, entry=internal_entry)
        return self._explain_by_name(name)

    def _explain_by_name(self, name: str) -> Explanation:
        entry = self.allowlist.entry_for(name)
        if entry is None:
            if not self.allowlist.entries:
                return self._skip(NOT_ON_ALLOWLIST, f"destinations.{self.name}.events lists nothing")
            return self._skip(NOT_ON_ALLOWLIST, "no entry of its allowlist matches")
        exception = self.allowlist.exception_for(name)
        if exception is not None:
            return self._skip(EXCLUDED, "an exception of its allowlist matches", entry=exception)
        if self._table.events is None:
            sentence = "it has no allowlist and takes every event"
            return Explanation(destination=self.name, goes=True, sentence=sentence)
        sentence = "its allowlist names it" if entry == name else "a glob of its allowlist matches"
        return Explanation(destination=self.name, goes=True, sentence=sentence, entry=entry)

    def _skip(self, reason: str, sentence: str, *, entry: str | None = None) -> Explanation:
        return Explanation(destination=self.name, goes=False, sentence=sentence, reason=reason, entry=entry)


class _PatternSet:
    """Names in a set, globs as compiled expressions."""

    def __init__(self, patterns: Iterable[str]) -> None:
        patterns = tuple(patterns)
        self._names = frozenset(pattern for pattern in patterns if not _is_glob(pattern))
        self._globs = tuple((pattern, _compile(pattern)) for pattern in patterns if _is_glob(pattern))

    def find(self, name: str) -> str | None:
        if name in self._names:
            return name
        return next((pattern for pattern, expression in self._globs if expression.match(name)), None)


def _is_glob(pattern: str) -> bool:
    return "*" in pattern or "?" in pattern


def _compile(glob: str) -> re.Pattern[str]:
    # fnmatch gives brackets a meaning, which names of events hold as they are; its expressions do not backtrack,
    # so that a hostile name costs no more than another of its length.
    return re.compile(translate(glob.replace("[", "[[]")))


def _likeness(name: str, entry: str) -> float:
    name, entry = name.lower(), entry.lower()
    return 1.0 if _compile(entry).match(name) else SequenceMatcher(None, name, entry).ratio()
