"""Numbering: the names of a case's events, by which each is recognised in the log and at the sink."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

#: An event for the tracking log and the sink, and one for the tracking log alone.
BOTH: Final = "shop.order.paid"
LOG_ONLY: Final = "shop.basket.seen"
POISON_EVERY: Final = 1000


def key(process: int, thread: int, n: int) -> str:
    """The name of one event: its process, thread and number in the thread."""
    return f"{process}.{thread}.{n}"


def goes_to_segment(n: int) -> bool:
    """Whether the event of this number goes to both destinations: three in four do."""
    return n % 4 != 3


def is_poison(n: int) -> bool:
    """Whether the event of this number may be poison, which the sink refuses for good. It goes to both destinations."""
    return n % POISON_EVERY == POISON_EVERY // 2


def for_segment(keys: Iterable[str]) -> frozenset[str]:
    """The events that go to the sink."""
    return frozenset(one for one in keys if goes_to_segment(_number(one)))


def poison_among(keys: Iterable[str]) -> frozenset[str]:
    """The events that may be poison."""
    return frozenset(one for one in keys if is_poison(_number(one)))


def _number(event_key: str) -> int:
    return int(event_key.rpartition(".")[2])
