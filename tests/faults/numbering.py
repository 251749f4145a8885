"""Numbering: how the events of a case are named, so that each can be told again in the log and at the sink."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

#: Goes to the tracking log and to the sink, and to the tracking log alone.
BOTH: Final = "shop.order.paid"
LOG_ONLY: Final = "shop.basket.seen"
POISON_EVERY: Final = 1000


def key(process: int, thread: int, n: int) -> str:
    """The name of one event: its process, thread and place there."""
    return f"{process}.{thread}.{n}"


def goes_to_segment(n: int) -> bool:
    """Three in four go to both destinations."""
    return n % 4 != 3


def is_poison(n: int) -> bool:
    """Whether the sink refuses the event of this number for ever; such a one goes to both destinations."""
    return n % POISON_EVERY == POISON_EVERY // 2


def for_segment(keys: Iterable[str]) -> frozenset[str]:
    """Those that are to go to the sink."""
    return frozenset(one for one in keys if goes_to_segment(_place(one)))


def poison_among(keys: Iterable[str]) -> frozenset[str]:
    """Those that the sink refuses for ever, where it does."""
    return frozenset(one for one in keys if is_poison(_place(one)))


def _place(event_key: str) -> int:
    return int(event_key.rpartition(".")[2])
