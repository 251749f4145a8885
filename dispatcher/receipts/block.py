"""Block: receipts of events that had the same fate in the same delivery, as bytes of a receipt file. Pure.

A receipt is 16 bytes, its event's key; all else stands once in the head of its block. So a million receipts are 16 MB,
and one is found by a search for its key in the bytes of a file. Nothing of an event but this key is in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from struct import Struct
from typing import Final, Literal, get_args
from zlib import crc32

import msgspec

from dispatcher.wire import AFTER_ID, ID_END

#: What became of an event at a destination, for good. posted: it waits for its visitor's page from then on.
Fate = Literal["delivered", "filtered", "dead", "posted"]

#: Bytes of a key.
KEY_BYTES: Final = 16

# Version, bytes behind the head, and the checksum of all that follows. Then, the rest of the head: time in ms since
# 1970, tries, fate, and the sizes of the three texts: destination, batch, reason.
_FRONT: Final = Struct("<4sII")
_REST: Final = Struct("<QHBBHH")
_HEAD_BYTES: Final = _FRONT.size + _REST.size
_MAGIC: Final = b"RCP1"
_FATES: Final[tuple[Fate, ...]] = get_args(Fate)
_CODES: Final = {fate: code for code, fate in enumerate(_FATES)}
_LARGEST: Final = 0xFFFF
# The longest text that is kept of each. Names of destinations and batches are shorter.
_TEXT_BYTES: Final = 255

_ID_START: Final = len('{"id":"')
_ID_BYTES: Final = ID_END - _ID_START
_HEX: Final = frozenset("0123456789abcdef")
# Where a UUID has its dashes (RFC 9562 §4).
_DASHES: Final = (8, 13, 18, 23)


class Block(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Receipts of one delivery.

    Args:
        destination: Where the events were to go.
        batch: The id of their batch.
        fate: What became of them.
        reason: Why, in the ledger's word; empty for what was delivered.
        at_ms: When, in milliseconds since 1970.
        attempt: The number of the try, from 1.
        keys: The keys of the events, one behind the other.
    """

    destination: str
    batch: str
    fate: Fate
    reason: str = ""
    at_ms: int
    attempt: int
    keys: bytes

    def encode(self) -> bytes:
        """The block as it stands in a file."""
        destination, batch, reason = (
            self.destination.encode()[:_TEXT_BYTES],
            self.batch.encode()[:_TEXT_BYTES],
            self.reason.encode()[:_TEXT_BYTES],
        )
        sizes = len(destination), len(batch), len(reason)
        rest = _REST.pack(self.at_ms, min(self.attempt, _LARGEST), _CODES[self.fate], *sizes)
        body = b"".join((rest, destination, batch, reason, self.keys))
        return _FRONT.pack(_MAGIC, len(body) - _REST.size, crc32(body)) + body


@dataclass(frozen=True, slots=True)
class Place:
    """Where a block is in a file: the first byte of it, of its keys, and the one behind it."""

    start: int
    keys: int
    end: int


def places(content: bytes) -> Iterator[Place]:
    """The places of the whole blocks of a file, up to one that is damaged or half written."""
    at = 0
    while at + _HEAD_BYTES <= len(content):
        magic, size, _ = _FRONT.unpack_from(content, at)
        _, _, _, *texts = _REST.unpack_from(content, at + _FRONT.size)
        end = at + _HEAD_BYTES + size
        if magic != _MAGIC or end > len(content):
            return
        yield Place(at, at + _HEAD_BYTES + sum(texts), end)
        at = end


def decode(content: bytes, place: Place) -> Block | None:
    """The block at a place; None where other bytes are there than were written."""
    rest = place.start + _FRONT.size
    if crc32(content[rest : place.end]) != _FRONT.unpack_from(content, place.start)[2]:
        return None
    at_ms, attempt, fate, *sizes = _REST.unpack_from(content, rest)
    body = place.start + _HEAD_BYTES
    texts: list[str] = []
    for size in sizes:
        texts.append(content[body : body + size].decode("utf-8", "replace"))
        body += size
    return Block(
        destination=texts[0],
        batch=texts[1],
        reason=texts[2],
        fate=_FATES[fate],
        at_ms=at_ms,
        attempt=attempt,
        keys=content[place.keys : place.end],
    )


def key_of(event_id: str) -> bytes:
    """The key of an event: the bytes of its id where that is a UUID, in the form that emit writes; else a digest of it.

    No key says anything of what an id of somebody else's may hold.
    """
    if len(event_id) == _ID_BYTES and all(event_id[at] == "-" for at in _DASHES):
        digits = event_id.replace("-", "")
        if len(digits) == 2 * KEY_BYTES and _HEX.issuperset(digits):
            return bytes.fromhex(digits)
    return blake2b(event_id.encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES).digest()


def keys_of(payloads: Sequence[bytes]) -> bytes:
    """The keys of encoded events, one behind the other; some 150 ns each where the ids are those of emit."""
    count = len(payloads)
    # All ids at once: each step for one event alone would cost as much as all of them here.
    text = b"".join([payload[_ID_START : ID_END + len(AFTER_ID)] for payload in payloads]).replace(AFTER_ID, b"")
    if len(text) == _ID_BYTES * count and all(text[at::_ID_BYTES].count(b"-") == count for at in _DASHES):
        digits = text.replace(b"-", b"")
        if len(digits) == 2 * KEY_BYTES * count and not digits.translate(None, b"0123456789abcdef"):
            return bytes.fromhex(digits.decode())
    return b"".join([key_of(id_of(payload)) for payload in payloads])


def id_of(payload: bytes) -> str:
    """The id of an encoded event; empty for other bytes."""
    text = payload[_ID_START : max(_ID_START, payload.find(AFTER_ID))]
    try:
        return str(msgspec.json.decode(b'"%b"' % text)) if b"\\" in text else text.decode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
