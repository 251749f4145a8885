"""Encoding: an event becomes a payload, or an error that says exactly why it cannot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from dispatcher.emit.context import MAX_CONTEXT_BYTES, BoundContext
from dispatcher.emit.diagnosis import ENCODING_ERRORS, describe, diagnose, encoder_text, holds_non_finite, kind_of
from dispatcher.emit.expansion import ExpansionError, encode_bounded, expands_beyond, may_expand
from dispatcher.errors import DropEvent, EventTooLargeError, InvalidEventError, NotEncodableError, ProcessorError
from dispatcher.event import MAX_ID_CHARACTERS, MAX_NAME_CHARACTERS, Event, EventType, decode, is_id, to_utc
from dispatcher.secrecy.foreign_error import type_name
from dispatcher.secrecy.masking import mask_addresses
from dispatcher.secrecy.safe_text import one_line, shorten
from dispatcher.wire import NULL, Envelope, encode_json, plain_text

if TYPE_CHECKING:
    from dispatcher.emit.processors import Processor

# Characters that a dead letter keeps of data that cannot be encoded.
_MAX_DESCRIPTION: Final = 65_536
# Characters that it keeps of the error, which names a path of any length.
_MAX_ERROR: Final = 2_000
# Values of one that expands which are searched for a better reason: a cycle is among the first, or is not told apart.
_MAX_EXAMINED_IN_VAIN: Final = 2_000
# Valid names that are remembered, so that checking one again is a look-up. Names come from callers, hence the bound.
_MAX_KNOWN_NAMES: Final = 10_000

# What has a name of its own that runs no code.
_FUNCTIONS: Final = (FunctionType, MethodType, BuiltinFunctionType)

# What a browser's event may have for data beside an object: edX's pages send JSON of any type.
_BROWSER_DATA: Final = (str, list, int, float)
_NO_CONTEXT: Final = msgspec.Raw(b"{}")


class RefusedCall(dict[str, Any]):
    """The data of an event that whoever calls refuses, with why: it raises, or becomes a dead letter that keeps it."""

    def __init__(self, data: Mapping[str, Any], problem: str) -> None:
        super().__init__(data)
        self.problem: Final = problem


class EventEncoder:
    """Checks events and encodes them. Safe in threads.

    Args:
        max_bytes: How large a payload may be.
        processors: Called in order with each event before it is taken.
    """

    def __init__(self, *, max_bytes: int, processors: Sequence[Processor] = ()) -> None:
        self.max_bytes: Final = max_bytes
        #: Bytes beyond which nothing is encoded. Below, the encoder tells how large an event is, or what else is wrong.
        self.max_encoded: Final = 8 * max_bytes
        self.processors: Final = tuple(processors)
        #: Names that were checked and are valid. Emit skips the check for these.
        self.known_names: Final[set[str]] = set()

    def encode(
        self, event_id: str, event_type: EventType, name: str, data: Any, timestamp: datetime, bound: BoundContext
    ) -> bytes:
        """The payload of an event, after the processors. It holds a copy of the data.

        Raises:
            InvalidEventError: The event cannot be taken. The subclass says in which way, the message why.
            DropEvent: A processor dropped it.
        """
        self._check_name(name)
        _check_id(name, event_id)
        timestamp = _read_timestamp(name, timestamp)
        data = _read_data(event_type, name, data, bound)
        envelope = Envelope(event_id, event_type, name, timestamp, data, _NO_CONTEXT)
        payload = _encode_envelope(envelope, bound, self.max_encoded)
        if self.processors:
            payload = self._process(name, payload)
        if len(payload) > self.max_bytes:
            raise EventTooLargeError(
                f"the event {short_name(name)} is {len(payload):,} bytes of JSON, more than outbox.max_event_bytes "
                f"({self.max_bytes:,}): send a reference to the large value instead of the value, or raise "
                "DISPATCHER_OUTBOX__MAX_EVENT_BYTES",
                event_name=short_name(name),
            )
        return payload

    def encode_decoded(self, event: Event, bound: BoundContext) -> bytes | None:
        """The payload of an event that was decoded from JSON, so that nothing in it expands or runs code.

        Args:
            event: Its id, if any, is one, and its time is in UTC.
            bound: The context that it gets instead of its own.

        Returns:
            None where ``encode`` has to look closer: it is unusual in any way, or there are processors.
        """
        context_json, data = bound.json, event.data
        if (
            event.name not in self.known_names
            or type(data) is not dict
            or context_json is None
            or not event.id
            or self.processors
        ):
            return None
        envelope = Envelope(event.id, event.type, event.name, event.timestamp, data, context_json)
        try:
            payload = encode_json(envelope)
        except ENCODING_ERRORS:
            return None
        if len(payload) > self.max_bytes or (payload.find(NULL, 0, bound.data_end) >= 0 and holds_non_finite(data)):
            return None
        return payload

    def encode_dead_letter(
        self, event_id: str, name: object, data: Any, timestamp: object, bound: BoundContext, error: InvalidEventError
    ) -> bytes:
        """The payload of an event that cannot be taken: the reason, and as much of the event as can be kept.

        Args:
            event_id: A valid id.
            name: As the caller gave it, like data and timestamp; any of them may be invalid.
            data: Kept as text of at most 65,536 characters.
            timestamp: Replaced by the present time where it is invalid.
            bound: The context that the event would have had.
            error: Why the event cannot be taken. After a ProcessorError nothing of data and context is kept.
        """
        # The processor that failed may have been there to redact the event.
        unsafe = isinstance(error, ProcessorError)
        letter = {
            "reason": error.reason,
            "error": shorten(_escape_surrogates(str(error)), _MAX_ERROR),
            # JSON may take four bytes for a character.
            "data": "" if unsafe else describe(data, limit=min(_MAX_DESCRIPTION, self.max_bytes // 4)),
        }
        raw = _NO_CONTEXT if unsafe or bound.json is None or bound.size > self.max_bytes // 2 else bound.json
        try:
            when = _read_timestamp("", timestamp)
        except InvalidEventError:
            when = datetime.now(UTC)
        return encode_json(Envelope(event_id, "dead", short_name(name), when, letter, raw))

    @staticmethod
    def encode_dropped(event_id: str, name: str, timestamp: datetime, drop: DropEvent) -> bytes:
        """The payload of an event that a processor dropped; only the ledger needs it.

        Args:
            event_id: The id that the event would have had.
            name: Its name.
            timestamp: When it was emitted, in UTC.
            drop: What the processor raised, with the reason.
        """
        reason = {"reason": _escape_surrogates(str(drop.reason))}
        return encode_json(Envelope(event_id, "dropped", short_name(name), timestamp, reason, _NO_CONTEXT))

    def _check_name(self, name: object) -> None:
        if type(name) is str and name in self.known_names:
            return
        if type(name) is not str:
            what = "is not a string"
        elif not name:
            what = "is empty"
        elif len(name) > MAX_NAME_CHARACTERS:
            what = f"has {len(name):,} characters, more than {MAX_NAME_CHARACTERS}"
        elif not name.isprintable():
            what = "holds a line break or another character that cannot be printed"
        else:
            if len(self.known_names) >= _MAX_KNOWN_NAMES:
                self.known_names.clear()
            self.known_names.add(name)
            return
        raise InvalidEventError(
            f"the event name {short_name(name)} {what}: pass a short constant such as 'shop.order.paid', "
            "and put what varies into data",
            event_name=short_name(name),
        )

    def _process(self, name: str, payload: bytes) -> bytes:
        # Processors get what a destination would get, with text for dates, and cannot change the caller's own objects.
        event: Event = decode(payload)
        for processor in self.processors:
            try:
                event = processor(event)
                payload = self._encode_processed(event)
            except DropEvent:
                raise
            except Exception as error:
                # Of an object its own code would run, and an error in that would leave the data in the dead letter.
                label = processor.__name__ if type(processor) in _FUNCTIONS else type_name(processor)
                raise ProcessorError(
                    f"the processor {label!r} failed on the event {short_name(name)} "
                    f"with {type_name(error)}: mend it, and have it return the event",
                    event_name=short_name(name),
                ) from error
        return payload

    def _encode_processed(self, event: object) -> bytes:
        # A processor may have returned anything.
        if not isinstance(event, Event):
            raise TypeError(f"it returned {type_name(event)}")
        self._check_name(event.name)
        _check_id(event.name, event.id)
        payload = encode_bounded(event, self.max_encoded, event.name)
        if NULL in payload and holds_non_finite((event.data, event.context)):
            raise ValueError("NaN or infinity")
        decode(payload)
        return payload


def _encode_envelope(envelope: Envelope, bound: BoundContext, limit: int) -> bytes:
    data, name = envelope.data, envelope.name
    problem: object
    try:
        if bound.json is None:
            if expands_beyond(bound.merged, MAX_CONTEXT_BYTES):
                raise _expansion_error(name, "context", bound.merged, MAX_CONTEXT_BYTES)
            problem = diagnose("context", bound.merged) or "its context has a value that JSON has no form for"
        else:
            envelope.context = bound.json
            payload = encode_bounded(envelope, limit, name) if may_expand(data) else encode_json(envelope)
            if NULL not in payload or not holds_non_finite(data):
                return payload
            problem = diagnose("data", data) or "data holds NaN or infinity, which JSON has no number for; pass None"
    except InvalidEventError:
        raise
    except ExpansionError as error:
        raise _expansion_error(name, "data", data, limit) from error
    except ENCODING_ERRORS as error:
        problem = diagnose("data", data) or encoder_text(error)
    raise NotEncodableError(f"the event {short_name(name)} cannot be encoded: {problem}", event_name=short_name(name))


def _expansion_error(name: str, what: str, value: object, limit: int) -> InvalidEventError:
    """The error for data or a context that was not encoded, since what is shared in it would take for ever."""
    problem = diagnose(what, value, limit=_MAX_EXAMINED_IN_VAIN)
    if problem is not None:  # most often, that it contains itself
        return NotEncodableError(
            f"the event {short_name(name)} cannot be encoded: {problem}", event_name=short_name(name)
        )
    return EventTooLargeError(
        f"the {what} of the event {short_name(name)} would be more than {limit:,} bytes of JSON: each list or dict is "
        "written once for every place where it stands, and some stand in a great many; pass ids of the things, not the "
        "things",
        event_name=short_name(name),
    )


def _check_id(name: str, event_id: object) -> None:
    if not is_id(event_id):
        raise InvalidEventError(
            f"the id of the event {short_name(name)} must be text of 1 to {MAX_ID_CHARACTERS} printable "
            f"characters, not {kind_of(event_id)}: leave it out to have one made",
            event_name=short_name(name),
        )


def _read_timestamp(name: str, timestamp: object) -> datetime:
    if not issubclass(type(timestamp), datetime):
        raise InvalidEventError(
            f"the timestamp of the event {short_name(name)} must be a datetime, not {kind_of(timestamp)}: "
            "pass datetime.fromisoformat(text), or leave it out for the present time",
            event_name=short_name(name),
        )
    try:
        return to_utc(cast("datetime", timestamp))
    except Exception as error:  # out of range in UTC, not a time (NaT), or raised by a time zone that is not ours
        raise InvalidEventError(
            f"the timestamp of the event {short_name(name)} cannot be converted to UTC "
            f"({type_name(error)}): leave it out for the present time",
            event_name=short_name(name),
        ) from error


def unreadable(name: object, error: Exception) -> InvalidEventError:
    """The error for an event whose values' own classes raised where they were only asked what they are.

    Args:
        name: The event's, as the caller gave it.
        error: What was raised; its text is not read.
    """
    return NotEncodableError(
        f"the event {short_name(name)} has a value whose class cannot be looked at ({type_name(error)}): "
        "pass plain dicts, lists, text and numbers",
        event_name=short_name(name),
    )


def _read_data(event_type: EventType, name: str, data: Any, bound: BoundContext) -> Any:
    if data is None:
        return {}
    if type(data) is RefusedCall:
        raise InvalidEventError(data.problem, event_name=short_name(name))
    # Only types are asked: isinstance would have a lazy object, such as Django's, look up what it stands for.
    if issubclass(type(data), Mapping):
        return data if type(data) is dict else _copy_mapping(data, "data", name)
    if issubclass(type(data), _BROWSER_DATA) and event_type == "event":
        source = bound.merged.get("event_source")
        if issubclass(type(source), str) and source == "browser":
            return data
    raise InvalidEventError(
        f"the data of the event {short_name(name)} must be a dict, not {kind_of(data)}: pass {{'value': …}}",
        event_name=short_name(name),
    )


def read_context(name: str, context: object) -> BoundContext:
    """The context that an event brings with it.

    Args:
        name: The event's, for the error.
        context: A mapping.

    Raises:
        InvalidEventError: ``context`` is not a mapping, or cannot be read.
    """
    if issubclass(type(context), Mapping):
        return BoundContext((("own", _copy_mapping(cast("Mapping[Any, Any]", context), "context", name)),))
    raise InvalidEventError(
        f"the context of the event {short_name(name)} must be a dict, not {kind_of(context)}: "
        "pass {'user_id': …} or the like",
        event_name=short_name(name),
    )


def _copy_mapping(mapping: Mapping[Any, Any], what: str, name: object) -> dict[Any, Any]:
    try:
        return dict(mapping)
    except Exception as error:  # the mapping's own code, or another thread that changes it
        raise InvalidEventError(
            f"the {what} of the event {short_name(name)} is a {type_name(mapping)} that cannot be read "
            f"({type_name(error)}): pass a dict",
            event_name=short_name(name),
        ) from error


def short_name(name: object) -> str:
    """A name that can stand in a message or a dead letter: as it is, or else its type and length.

    A name that is long, or holds an address or a line break, was put together from data.
    """
    text = plain_text(name)
    if type(text) is str and 0 < len(text) <= 80 and one_line(mask_addresses(text)) == text and text.isprintable():
        return text
    return f"({kind_of(name)})"


def _escape_surrogates(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
