"""Event ids: how an id that came with an event is remembered, so that the event is known when it comes again.

The store remembers digests, since ids have up to 100 characters and most of its memory would go into them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, Self

#: Where the context of an event says through which source of the collector it came. The last of its fields.
SOURCE_KEY: Final = "collector_source"

# 80 bits: of a hundred million ids, two have the same with a probability of 4 in a billion.
_ID_BYTES: Final = 10
_JOURNAL_BYTES, _POSITION_BYTES = 4, 5
_SOURCE: Final = re.compile(rb'"%b":"([a-z0-9_]+)"\}\}$' % SOURCE_KEY.encode())
_SOURCE_TAIL: Final = 300
_BEFORE_ID: Final = len('{"id":"')
_AFTER_ID: Final = b'","type":"'


@dataclass(frozen=True, slots=True)
class IdWindow:
    """For how long, and how many, ids are remembered.

    Args:
        window_ms: At least so long, up to half as much longer.
        limit: The most ids; beyond it the oldest third is forgotten early.
    """

    window_ms: int
    limit: int


@dataclass(frozen=True, slots=True)
class IdMemory:
    """What is remembered.

    Args:
        ids: How many ids.
        forgotten_early: How many were forgotten before their time, because there were more than the limit.
    """

    ids: int = 0
    forgotten_early: int = 0

    @classmethod
    def from_json(cls, stored: bytes | None) -> Self:
        """Read what repeats.lua keeps; None where it keeps nothing yet."""
        if stored is None:
            return cls()
        memory = json.loads(stored)
        # Lua has one type for lists and objects, and writes an empty list as an object.
        return cls(sum(one["n"] for one in memory["slices"] or ()), memory["early"])


def source_of(payload: bytes) -> str:
    """The source of the collector through which an event came; empty where it came through none."""
    source = _SOURCE.search(payload, max(0, len(payload) - _SOURCE_TAIL))
    return source[1].decode() if source else ""


def fingerprints(journal: str, payloads: Sequence[bytes], ends: Sequence[int]) -> list[bytes]:
    """What repeats.lua takes of each event: its id as a digest, and where the event is.

    An id is that of its source: two sources may use the same one.

    Args:
        journal: The name of the journal.
        payloads: Events of it.
        ends: The position behind each, a multiple of 8.
    """
    place = blake2b(journal.encode(), digest_size=_JOURNAL_BYTES).digest()
    found: list[bytes] = []
    for payload, end in zip(payloads, ends, strict=True):
        source = _SOURCE.search(payload, max(0, len(payload) - _SOURCE_TAIL))
        key = payload[_BEFORE_ID : payload.find(_AFTER_ID)] + b"\0" + (source[1] if source else b"")
        digest = blake2b(key, digest_size=_ID_BYTES).digest()
        found.append(digest + place + (end >> 3).to_bytes(_POSITION_BYTES, "little"))
    return found
