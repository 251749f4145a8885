"""How the event of a dead letter is kept in Redis: packed, and only described where it is too large even so. Pure."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import zstandard

from dispatcher.event import Event, decode, encode

# Bytes from which an event is packed. What is smaller gets hardly smaller alone.
_PACKED_FROM_BYTES: Final = 1000
# Letters are few, and may stay for months.
_LEVEL: Final = 9
# How a text begins that zstd has packed (RFC 8878 §3.1.1), and JSON never does.
_MAGIC: Final = b"\x28\xb5\x2f\xfd"

#: Bytes of a packed event that are kept. A million such letters are not to be expected, but hundreds are.
MAX_BYTES: Final = 256 * 1024
# Characters of an event's text that its description quotes.
_QUOTED: Final = 2000


def kept(payload: bytes) -> bytes:
    """An event as it is kept."""
    if len(payload) < _PACKED_FROM_BYTES:
        return payload
    packed = zstandard.ZstdCompressor(level=_LEVEL).compress(payload)
    if len(packed) > MAX_BYTES:
        why = f"its event of {len(payload):,} bytes was too large to be kept whole"
        return _described(payload, why, payload[:_QUOTED].decode("utf-8", "replace"))
    return min(packed, payload, key=len)


def short(payload: bytes) -> bytes:
    """An event where there is no room for it: what it was, and that it cannot be replayed."""
    return _described(payload, "there were too many dead letters for its event to be kept")


def whole(kept: bytes) -> bytes:
    """The event of a letter. Raises zstandard.ZstdError where it is damaged."""
    return zstandard.ZstdDecompressor().decompress(kept) if kept.startswith(_MAGIC) else kept


def _described(payload: bytes, why: str, begins: str = "") -> bytes:
    said: dict[str, Any] = {"cut": why}
    if begins:
        said["begins"] = begins
    try:
        event = decode(payload)
    except (msgspec.DecodeError, RecursionError):
        return msgspec.json.encode(said)
    said["type"] = event.type
    # Of the type of what emit could not take, which is only described too, so that nobody has it replayed.
    return encode(Event(id=event.id, type="dead", name=event.name, timestamp=event.timestamp, data=said, context={}))
