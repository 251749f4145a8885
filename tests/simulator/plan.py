"""Plan: which actions a seed's history consists of, and the setting in which they happen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from tests.simulator.ground import MOST_SLOTS, Version

#: What every history has, with the weight of each.
_LIFE: Final[dict[str, int]] = {
    "emit": 26,
    "tidy": 3,
    "step": 20,
    "step all": 8,
    "work": 12,
    "bell": 3,
    "moment": 14,
    "seconds": 4,
    "start": 3,
}
#: What only some histories have, with the weight of each.
_TROUBLES: Final[dict[str, int]] = {
    "end": 5,
    "kill web": 5,
    "kill relay": 6,
    "start relay": 4,
    "stop relay": 3,
    "fault": 8,
    "arrive": 4,
    "store down": 3,
    "roll back": 5,
    "wipe": 2,
    "week": 1,
    "lease": 3,
    "claim": 8,
    "deliver": 8,
    "settle": 8,
    "kill worker": 4,
    "settings": 4,
    "disk": 3,
}
#: Sequences that are rare by chance, in which a trouble meets something that it can spoil.
_PHRASES: Final[tuple[tuple[str, ...], ...]] = (
    ("moment", "emit", "step all", "work", "roll back"),
    ("moment", "emit", "step all", "work", "moment", "seconds", "step all", "roll back"),
    ("moment", "emit", "step all", "emit", "kill relay", "roll back"),
    ("moment", "emit", "step all", "work", "kill relay", "roll back"),
    ("moment", "emit", "step all", "kill web", "roll back"),
    ("moment", "emit", "fault", "step all", "work", "roll back"),
    ("moment", "emit", "fault", "emit", "step all", "work", "moment", "roll back"),
    ("moment", "emit", "step all", "work", "settings", "step all", "roll back"),
    ("moment", "emit", "step all", "work", "end", "roll back"),
    ("moment", "emit", "step all", "claim", "deliver", "roll back", "step all", "settle"),
    ("emit", "fault", "emit", "step all", "seconds", "seconds", "bell", "work", "wipe"),
    ("emit", "step all", "work", "kill relay", "wipe"),
    ("emit", "kill relay", "week", "step all", "work"),
    ("emit", "step all", "claim", "kill web", "week", "start", "step all", "work"),
    ("disk", "emit", "step all", "kill relay", "disk"),
    ("settings", "emit", "kill relay", "settings", "step all"),
)

#: All kinds of actions, and those that are troubles, in the order in which tables have them.
KINDS: Final = (*_LIFE, *_TROUBLES)
TROUBLES: Final = tuple(_TROUBLES)


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that happens: its kind, and the seed of its random choices."""

    kind: str
    seed: int

    def __str__(self) -> str:
        return self.kind


@dataclass(frozen=True, slots=True)
class Setting:
    """The conditions of a whole history.

    Args:
        journal_bytes: The size of journals.
        has_threads: Whether web processes have a relay thread.
        has_relays: Whether relays run in their own processes.
        version: The first version of the settings files.
    """

    journal_bytes: int
    has_threads: bool
    has_relays: bool
    version: Version


def setting_of(seed: int) -> Setting:
    """The setting that belongs to a seed."""
    random = Random(f"setting {seed}")
    has_threads = random.random() < 0.6
    return Setting(
        journal_bytes=random.choice((1024, 4096, 4096, 16384)),
        has_threads=has_threads,
        has_relays=not has_threads or random.random() < 0.4,
        version=Version(
            keeps=random.random() >= 0.04, small=random.random() < 0.5, slots=random.choice((1, 1, 2, MOST_SLOTS))
        ),
    )


def plan_of(seed: int, troubles: Sequence[str] = ()) -> list[Action]:
    """The actions that belong to a seed, in order; limited to ``troubles`` if any are named."""
    random = Random(f"plan {seed}")
    length = random.randrange(8, 40)
    # Most histories have few kinds of trouble, so that each also occurs without the others.
    chosen = [kind for kind in _TROUBLES if kind in troubles or (not troubles and random.random() < 0.35)]
    weights = {**_LIFE, **{kind: _TROUBLES[kind] for kind in chosen}}
    kinds = random.choices(list(weights), weights=list(weights.values()), k=length)
    phrases = [phrase for phrase in _PHRASES if weights.keys() >= set(phrase)]
    for phrase in random.choices(phrases, k=random.randrange(3)) if phrases else ():
        at = random.randrange(len(kinds))
        kinds[at:at] = phrase
    return [Action(kind, random.getrandbits(48)) for kind in kinds]
