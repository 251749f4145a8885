"""Dead events: what will not be delivered, and how Redis keeps it: packed, or described where it is too large. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec
import zstandard

from dispatcher.event import Event, decode, encode
from dispatcher.secrecy.safe_text import shorten

# Bytes from which an event is packed. A smaller one gets hardly smaller alone.
_PACKED_FROM_BYTES: Final = 1000
# Dead letters are few, and may stay for months.
_LEVEL: Final = 9
# How a text begins that zstd has packed (RFC 8878 §3.1.1), and JSON never does.
_MAGIC: Final = b"\x28\xb5\x2f\xfd"

#: Bytes of a packed event that are kept. A million such dead letters are not to be expected, but hundreds are.
MAX_BYTES: Final = 256 * 1024
# Characters of an event's text that its description quotes.
_QUOTED: Final = 2000
# Characters of an error: some quote a server's whole answer.
_ERROR_LENGTH: Final = 2000


@dataclass(frozen=True, slots=True)
class DeadEvent:
    """An event that will not be delivered, and why: in a word, as the ledger counts it, and in a sentence.

    Args:
        reason: The word.
        error: The sentence.
        payload: The event.
        answer: What the destination answered, in its own words; empty if it was not asked, or said nothing.
    """

    reason: str
    error: str
    payload: bytes
    answer: str = ""

    @property
    def why(self) -> tuple[str, ...]:
        """The reason, the error and the answer if there is one, as the store's scripts take them."""
        why = (self.reason, shorten(self.error, _ERROR_LENGTH))
        return (*why, shorten(self.answer, _ERROR_LENGTH)) if self.answer else why

    @property
    def data(self) -> tuple[bytes, bytes]:
        """The event and its description, as the store's scripts take them. Packed here, since Redis is one for all."""
        return pack_event(self.payload), describe_event(self.payload)


def pack_event(payload: bytes) -> bytes:
    """Make the form in which an event is kept."""
    if len(payload) < _PACKED_FROM_BYTES:
        return payload
    packed = zstandard.ZstdCompressor(level=_LEVEL).compress(payload)
    if len(packed) > MAX_BYTES:
        why = f"its event of {len(payload):,} bytes was too large to be kept whole"
        return _describe(payload, why, payload[:_QUOTED].decode("utf-8", "replace"))
    return min(packed, payload, key=len)


def describe_event(payload: bytes) -> bytes:
    """Make what is kept where Redis has no room for the event: what it was, and that it cannot be replayed."""
    return _describe(payload, "there were too many dead letters for its event to be kept")


def unpack_event(kept: bytes) -> bytes:
    """The event, or its description. Raises zstandard.ZstdError where it is damaged."""
    return zstandard.ZstdDecompressor().decompress(kept) if kept.startswith(_MAGIC) else kept


def _describe(payload: bytes, why: str, begins: str = "") -> bytes:
    data: dict[str, Any] = {"cut": why}
    if begins:
        data["begins"] = begins
    try:
        event = decode(payload)
    except (msgspec.DecodeError, RecursionError):
        return msgspec.json.encode(data)
    data["type"] = event.type
    # With the type of an event that emit could not take, which is only described too, so that nobody has it replayed.
    return encode(Event(id=event.id, type="dead", name=event.name, timestamp=event.timestamp, data=data, context={}))
