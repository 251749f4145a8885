"""Which key of dispatcher's one in Redis is."""

from __future__ import annotations

from dispatcher.store.keys import KEYS, Key


def owner_of(key: str) -> Key:
    """Which of ``KEYS`` a key of a destination is. Raises KeyError for any other key."""
    name = key.partition("}:")[2]
    for owner in KEYS:
        start, several, _ = owner.name.partition("<")
        if name == start or (several and name.startswith(start)):
            return owner
    raise KeyError(key)
