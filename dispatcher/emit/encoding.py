"""Encoding: what emit was given becomes a payload, or it is said exactly why it cannot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dispatcher.emit.context import BoundContext
from dispatcher.emit.diagnosis import ENCODING_ERRORS, describe, diagnose, holds_non_finite
from dispatcher.errors import DropEvent, EventTooLargeError, InvalidEventError, NotEncodableError, ProcessorError
from dispatcher.event import MAX_ID_CHARACTERS, MAX_NAME_CHARACTERS, Event, EventType, decode, encode, is_id, to_utc
from dispatcher.wire import NULL, Envelope, encode_json

if TYPE_CHECKING:
    from dispatcher.emit.processors import Processor

# Characters kept of data that cannot be encoded.
_MAX_DESCRIPTION: Final = 65_536
# Characters kept of what is wrong with it, which names a path of any length.
_MAX_ERROR: Final = 2_000
# Names seen to be good are remembered, up to so many, which makes looking at a name again a look-up.
_MAX_KNOWN_NAMES: Final = 10_000


_NO_CONTEXT: Final = msgspec.Raw(b"{}")


class EventEncoder:
    """Checks events and encodes them. Safe in threads.

    Args:
        max_bytes: How large a payload may be.
        processors: Called in order with each event before it is taken.
    """

    def __init__(self, *, max_bytes: int, processors: Sequence[Processor] = ()) -> None:
        self.max_bytes: Final = max_bytes
        self.processors: Final = tuple(processors)
        #: Names that were looked at and found good. Emit skips the check for these.
        self.known_names: Final[set[str]] = set()

    def encode(
        self, event_id: str, kind: EventType, name: str, data: Any, moment: datetime, bound: BoundContext
    ) -> bytes:
        """The payload of an event.

        Raises:
            InvalidEventError: It cannot be taken, and why; the error's subclass says in which way.
            DropEvent: A processor dropped it.
        """
        self._check_name(name)
        _check_id(name, event_id)
        moment = _checked_moment(name, moment)
        data = _checked_data(kind, name, data, bound)
        payload = _encoded(Envelope(event_id, kind, name, moment, data, _NO_CONTEXT), bound)
        if self.processors:
            payload = self._process(name, payload)
        if len(payload) > self.max_bytes:
            raise EventTooLargeError(
                f"the event {short(name)} is {len(payload):,} bytes of JSON, more than outbox.max_event_bytes "
                f"({self.max_bytes:,}): send a reference to the large value instead of the value, or raise "
                "DISPATCHER_OUTBOX__MAX_EVENT_BYTES",
                event_name=name,
            )
        return payload

    def dead_letter(
        self, event_id: str, name: object, data: Any, moment: object, bound: BoundContext, error: InvalidEventError
    ) -> bytes:
        """The payload that keeps an event which cannot be taken: its reason, and as much of it as can be kept."""
        # What a processor failed on was perhaps to be redacted by it, so nothing of that is kept.
        unsafe = isinstance(error, ProcessorError)
        letter = {
            "reason": error.reason,
            "error": _encodable(str(error))[:_MAX_ERROR],
            # JSON may take four bytes for a character.
            "data": "" if unsafe else describe(data, limit=min(_MAX_DESCRIPTION, self.max_bytes // 4)),
        }
        raw = _NO_CONTEXT if unsafe or bound.json is None or bound.size > self.max_bytes // 2 else bound.json
        try:
            when = _checked_moment("", moment)
        except InvalidEventError:
            when = datetime.now(UTC)
        return encode_json(Envelope(event_id, "dead", short(name), when, letter, raw))

    @staticmethod
    def dropped(event_id: str, name: str, moment: datetime, drop: DropEvent) -> bytes:
        """The payload that counts an event which a processor dropped, and keeps nothing else of it."""
        return encode_json(
            Envelope(event_id, "dropped", short(name), moment, {"reason": _encodable(str(drop.reason))}, _NO_CONTEXT)
        )

    def _check_name(self, name: object) -> None:
        if isinstance(name, str) and name in self.known_names:
            return
        if not isinstance(name, str):
            what = f"is {describe(name, limit=80)}, not a string"
        elif not name:
            what = "is empty"
        elif len(name) > MAX_NAME_CHARACTERS:
            what = f"has {len(name):,} characters, more than {MAX_NAME_CHARACTERS}"
        elif not name.isprintable():
            what = "holds a line break or another character that cannot be printed"
        else:
            if len(self.known_names) >= _MAX_KNOWN_NAMES:
                self.known_names.clear()
            self.known_names.add(str(name))
            return
        raise InvalidEventError(
            f"the event name {short(name)} {what}: pass a short constant such as 'shop.order.paid', "
            "and put what varies into data",
            event_name=short(name),
        )

    def _process(self, name: str, payload: bytes) -> bytes:
        # Processors get what a destination would get, with text for dates, and can change nothing of the caller's.
        event: Event = decode(payload)
        for processor in self.processors:
            try:
                event = processor(event)
                payload = self._encode_processed(event)
            except DropEvent:
                raise
            except Exception as error:
                raise ProcessorError(
                    f"the processor {getattr(processor, '__name__', processor)!r} failed on the event {short(name)} "
                    f"with {type(error).__name__}: mend it, and have it return the event",
                    event_name=name,
                ) from error
        return payload

    def _encode_processed(self, event: object) -> bytes:
        # A processor may have made anything of it.
        if not isinstance(event, Event):
            raise TypeError(f"it returned {type(event).__name__}")
        self._check_name(event.name)
        _check_id(event.name, event.id)
        payload = encode(event)
        if NULL in payload and holds_non_finite((event.data, event.context)):
            raise ValueError("NaN or infinity")
        decode(payload)
        return payload


def _encoded(envelope: Envelope, bound: BoundContext) -> bytes:
    data = envelope.data
    problem: object
    try:
        if bound.json is None:
            problem = diagnose("context", bound.merged) or "its context has a value that JSON has no form for"
        else:
            envelope.context = bound.json
            payload = encode_json(envelope)
            if NULL not in payload or not holds_non_finite(data):
                return payload
            problem = diagnose("data", data) or "data holds NaN or infinity, which JSON has no number for; pass None"
    except ENCODING_ERRORS as error:
        problem = diagnose("data", data) or error
    raise NotEncodableError(f"the event {short(envelope.name)} cannot be encoded: {problem}", event_name=envelope.name)


def _check_id(name: str, event_id: object) -> None:
    if not is_id(event_id):
        raise InvalidEventError(
            f"the id {describe(event_id, limit=80)} of the event {short(name)} must be text of 1 to "
            f"{MAX_ID_CHARACTERS} printable characters: leave it out to have one made",
            event_name=name,
        )


def _checked_moment(name: str, moment: object) -> datetime:
    if not isinstance(moment, datetime):
        raise InvalidEventError(
            f"the timestamp of the event {short(name)} must be a datetime, not {describe(moment, limit=80)}: "
            "pass datetime.fromisoformat(text), or leave it out to take the present moment",
            event_name=name,
        )
    try:
        return to_utc(moment)
    except Exception as error:  # out of range in UTC, or raised by a time zone that is not ours
        raise InvalidEventError(
            f"the timestamp {describe(moment, limit=80)} of the event {short(name)} is no time in UTC "
            f"({type(error).__name__}): leave it out to take the present moment",
            event_name=name,
        ) from error


def _checked_data(kind: EventType, name: str, data: Any, bound: BoundContext) -> Any:
    if data is None:
        return {}
    if isinstance(data, Mapping):
        return data if type(data) is dict else _read(data, f"the data of the event {short(name)}", name)
    if isinstance(data, str) and kind == "event" and bound.merged.get("event_source") == "browser":
        return data
    raise InvalidEventError(
        f"the data of the event {short(name)} must be a dict, not {type(data).__name__} "
        f"({describe(data, limit=80)}): pass {{'value': …}}",
        event_name=name,
    )


def own_context(name: str, context: object) -> BoundContext:
    """The context that an event brings with it. Raises InvalidEventError where it is none."""
    if isinstance(context, Mapping):
        return BoundContext((("own", _read(context, f"the context of the event {short(name)}", name)),))
    raise InvalidEventError(
        f"the context of the event {short(name)} must be a dict, not {describe(context, limit=80)}: "
        "pass {'user_id': …} or the like",
        event_name=short(name),
    )


def _read(mapping: Mapping[Any, Any], what: str, name: object) -> dict[Any, Any]:
    try:
        return dict(mapping)
    except Exception as error:  # the mapping's own code, or another thread that changes it
        raise InvalidEventError(
            f"{what} is a {type(mapping).__name__} that cannot be read ({type(error).__name__}): pass a dict",
            event_name=short(name),
        ) from error


def short(name: object) -> str:
    """A name as it can stand in a message or a dead letter."""
    return name if isinstance(name, str) and 0 < len(name) <= 80 and name.isprintable() else describe(name, limit=80)


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
