"""Payload: an encoded event on its way, as forgetting sees it."""

from __future__ import annotations

from typing import Final

import msgspec

from dispatcher.forgetting.change import Change
from dispatcher.forgetting.person import Person
from dispatcher.suppression.tombstone import tombstone

_decode: Final = msgspec.json.Decoder().decode


def names_in_payload(person: Person, payload: bytes) -> bool:
    """Whether an encoded event names the person; False for other bytes."""
    try:
        return person.is_named_in(_decode(payload))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return False


def change_payload(payload: bytes, change: Change) -> bytes:
    """What an encoded event becomes: a tombstone, if it goes."""
    changed = change.line(payload)
    return tombstone(payload) if changed is None else changed
