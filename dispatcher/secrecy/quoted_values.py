"""Quoted values: what an event says, found again in a text that somebody else wrote about the event.

A vendor answers "no such person: Ada Lovelace", and a destination of one's own raises with half of its request. Such a
text is kept and shown for its words; whom the event was about is masked in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote, quote_plus

from dispatcher.secrecy.masking import MASK

# Characters. A shorter value is found in too many other words.
_MIN_LENGTH: Final = 4
# Values that are looked for in one text: some milliseconds. A batch of any usual size has fewer.
_MAX_VALUES: Final = 20_000


def values_of(objects: Iterable[Any]) -> list[str]:
    """Texts and numbers in JSON values, at every depth, and keys of their objects other than plain words.

    Args:
        objects: JSON values, such as the data and the context of events.

    Returns:
        Those that are long enough to be looked for, the longest first. Some are missing where there are very many.
    """
    found: set[str] = set()
    left = list(objects)
    while left and len(found) < _MAX_VALUES:
        value = left.pop()
        if isinstance(value, dict):
            found.update(key for key in value if not key.isidentifier())
            left += value.values()
        elif isinstance(value, list):
            left += value
        elif isinstance(value, str | int | float) and not isinstance(value, bool):
            found.add(str(value))
    return sorted((value for value in found if len(value) >= _MIN_LENGTH), key=len, reverse=True)


def mask_values(text: str, values: Iterable[str]) -> str:
    """The text with each of these values masked, also as JSON, Python and URLs spell them. Pure.

    Args:
        text: Anything.
        values: What ``values_of`` has found.
    """
    for value in values:
        in_url = {quote(value), quote(value, safe=""), quote_plus(value)}
        for spelling in {value, json.dumps(value)[1:-1], repr(value)[1:-1], *in_url}:
            if spelling in text:
                text = text.replace(spelling, MASK)
    return text
