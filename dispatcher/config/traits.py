"""Traits: what settings, web processes, relays and commands must know of a destination type without importing it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What sets a destination type apart from the others. Most types need nothing but these defaults.

    Args:
        defaults: Other defaults for the keys that every destination's table has; those of inner tables are merged.
        takes_all_events: Whether it gets every event as long as its table has no allowlist.
        takes_direct_calls: Whether it gets direct calls, such as identify, which mean something to Segment only.
        in_browser: Whether its vendor takes events from browsers only, so that workers post them for visitors' pages.
        refuses: Keys of the table that it cannot have, each with the reason and what to do instead.
        no_replay: Why old events cannot be replayed to it, in words that follow its name; None where they can.
        paths: Its own options that are paths, so that ``~``, ``$VARIABLES`` and relative paths are made absolute; each
            with the name of a file in the state directory for a table without that option, or None.
        log: The option with the path of the file that it appends lines to, which `dispatcher doctor` examines.
        needs: Options without which its events wait, although the start does without them.
        has_stub: Whether `dispatcher up` stands in for its vendor, by the option ``host``, while it lacks ``needs``.
    """

    defaults: Mapping[str, object] = field(default_factory=dict)
    takes_all_events: bool = False
    takes_direct_calls: bool = False
    in_browser: bool = False
    refuses: Mapping[str, str] = field(default_factory=dict)
    no_replay: str | None = None
    paths: Mapping[str, str | None] = field(default_factory=dict)
    log: str | None = None
    needs: tuple[str, ...] = ()
    has_stub: bool = False
