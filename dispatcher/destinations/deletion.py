"""Deletion: what becomes of a person at a destination who is to be forgotten, for `dispatcher doctor` and receipts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

#: ``here``: `dispatcher forget` takes the person out. ``on_request``: its vendor has a request for it. ``by_hand``: who
#: runs it can delete there. ``hidden``: it only hides what it has. ``never``: what it has got stays until it expires.
Deletion = Literal["here", "on_request", "by_hand", "hidden", "never", "unknown"]

_OFFERS: Final[Mapping[Deletion, str]] = {
    "here": "`dispatcher forget` takes a person out of {name}",
    "on_request": "the vendor of {name} deletes a person on request",
    "by_hand": "who runs {name} can delete a person there",
    "unknown": "{name} does not say how a person is deleted there: ask who runs it",
    "hidden": "{name} can hide what it has of a person, and not delete it",
    "never": "{name} cannot delete what it has of a person: it stays until it expires",
}


def describe(name: str, offered: Deletion, steps: str) -> str:
    """What a destination offers, and what is left to do there.

    Args:
        name: The destination's.
        offered: What its class says.
        steps: The same; may be empty.
    """
    offer = _OFFERS[offered].format(name=name)
    return f"{offer}. {steps}" if steps else offer
