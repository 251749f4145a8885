"""Forgotten events: what a batch has of people who are to be forgotten is taken out, and counted as filtered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dispatcher.outcomes import FORGOTTEN, Filtered, Outcome
from dispatcher.suppression.tombstone import is_tombstone

if TYPE_CHECKING:
    from dispatcher.suppression.suppression_list import SuppressionList


def find_forgotten(payloads: Sequence[bytes], suppressed: SuppressionList | None) -> tuple[int, ...]:
    """The places of tombstones, and of events of people who are to be forgotten on this host."""
    if suppressed is None or suppressed.is_empty():
        return tuple(place for place, payload in enumerate(payloads) if is_tombstone(payload))
    return tuple(
        place
        for place, payload in enumerate(payloads)
        if is_tombstone(payload) or suppressed.is_named_in_payload(payload)
    )


def leave_out(payloads: tuple[bytes, ...], forgotten: Sequence[int]) -> tuple[bytes, ...]:
    """The payloads without those at some places."""
    if not forgotten:
        return payloads
    places = frozenset(forgotten)
    return tuple(payload for place, payload in enumerate(payloads) if place not in places)


def put_back(outcomes: Sequence[Outcome] | Exception, forgotten: Sequence[int]) -> Sequence[Outcome] | Exception:
    """The outcomes of a batch's events as they came, with those that were left out as filtered."""
    if not forgotten or isinstance(outcomes, Exception):
        return outcomes
    whole = list(outcomes)
    for place in forgotten:
        whole.insert(place, Filtered(FORGOTTEN))
    return whole
