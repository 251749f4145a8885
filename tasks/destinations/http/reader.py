"""EventReader: payloads become events, each decoded once; those with equal contexts share one dict."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from dispatcher.event import Event, decode
from dispatcher.secrecy.visitor import CONTEXT_KEY
from dispatcher.templates.number import may_have_huge_number, tame_numbers
from dispatcher.wire import STANDARD, Parts, split


class EventReader:
    """Reads the payloads of one delivery. For one thread.

    Args:
        shares_contexts: Whether events with equal contexts get the same dict, which nobody may change then.
    """

    __slots__ = ("_contexts", "_shares_contexts")

    def __init__(self, *, shares_contexts: bool) -> None:
        self._shares_contexts = shares_contexts
        self._contexts: dict[bytes, dict[str, Any]] = {}

    def read(self, payload: bytes) -> Event:
        """The event of a payload, without numbers that no vendor can read.

        Raises:
            ValueError, OverflowError, RecursionError: It is not an event.
        """
        if may_have_huge_number(payload):
            # A vendor that cannot read one refuses the whole request.
            event = self._whole(payload)
            return msgspec.structs.replace(event, data=tame_numbers(event.data), context=tame_numbers(event.context))
        parts = split(payload) if self._shares_contexts else None
        return self._whole(payload) if parts is None else self._join(parts)

    @staticmethod
    def _whole(payload: bytes) -> Event:
        event = decode(payload)
        # What is ours alone; so in a shared context.
        event.context.pop(CONTEXT_KEY, None)
        return event

    def _join(self, parts: Parts) -> Event:
        encoded = bytes(parts.context)
        context = self._contexts.get(encoded)
        if context is None:
            context = self._contexts[encoded] = _decode_context(encoded)
            context.pop(CONTEXT_KEY, None)
        timestamp = msgspec.convert(parts.timestamp, STANDARD["datetime"])
        return Event(id=parts.id, name=parts.name, timestamp=timestamp, data=_decode(parts.data), context=context)


_decode: Final = msgspec.json.Decoder().decode
_decode_context: Final = msgspec.json.Decoder(dict[str, Any]).decode
