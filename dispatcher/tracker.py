"""Tracker: emit, and the default tracker that the module's own functions speak for.

The one rule of this file: nothing that ``emit`` does may wait for a network, another process or a disk.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from dispatcher.context import BoundContext, context, current, enter_context, exit_context
from dispatcher.diagnosis import ENCODING_ERRORS, describe, diagnose, find_non_finite
from dispatcher.errors import (
    DropEvent,
    EventTooLargeError,
    InvalidEventError,
    NotEncodableError,
    OutboxError,
    ProcessorError,
    SettingsError,
)
from dispatcher.event import Event, EventType, decode, encode
from dispatcher.identity import IdSource
from dispatcher.outbox import Outbox

if TYPE_CHECKING:
    from dispatcher.config import Settings
    from dispatcher.processors import Processor
    from dispatcher.relay import RelayThread

logger = logging.getLogger(__name__)

#: Longer names are no names: Google Analytics takes 40 characters, Segment advises against more than that too.
MAX_NAME_CHARACTERS: Final = 255

# Names seen to be good are remembered, up to so many, which makes looking at a name again a look-up.
_MAX_KNOWN_NAMES: Final = 10_000
# Seconds between tries to open an outbox that could not be opened, and between log lines about refused events.
_REOPEN_SECONDS: Final = 1.0
_COMPLAIN_SECONDS: Final = 60.0


class _Envelope(msgspec.Struct):
    """An Event whose context is JSON already. The fields are Event's, in the same order."""

    id: str
    type: EventType
    name: str
    timestamp: datetime
    data: Any
    context: msgspec.Raw


class _Box(Protocol):
    """What a tracker needs of an outbox."""

    @property
    def position(self) -> int: ...
    def has_relayed(self, position: int) -> bool: ...
    def append(self, payload: bytes) -> None: ...
    def close(self) -> None: ...
    def abandon(self) -> None: ...


_encode = msgspec.json.Encoder().encode
_now = datetime.now
_getpid = os.getpid
_NO_CONTEXT: Final = msgspec.Raw(b"{}")


class Tracker:
    """Takes events into the outbox of this process. Safe in threads, asyncio, greenlets and after fork.

    The outbox is opened at the first event, and again in each forked child at its own first event.

    Args:
        settings: Where the outbox is and what it may hold; None reads the settings files and the environment.
        outbox: Used instead of the durable one, by the memory twin.
        processors: Called with each event before it is taken, in addition to the settings' own.
        strict: With a given outbox, whether an event that cannot be taken raises.
    """

    context = staticmethod(context)
    enter_context = staticmethod(enter_context)
    exit_context = staticmethod(exit_context)

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        outbox: _Box | None = None,
        processors: Sequence[Processor] = (),
        strict: bool = False,
    ) -> None:
        self._settings = settings
        self._given_outbox = outbox
        self._given_processors = tuple(processors)
        self._processors: tuple[Processor, ...] = self._given_processors
        self._strict = settings.strict if settings is not None else strict
        self._max_bytes = settings.outbox.max_event_bytes if settings is not None else 1 << 20
        self._names: set[str] = set()
        self._complained: set[tuple[str, str]] = set()
        self._forget_process()

    def _forget_process(self) -> None:
        # Everything that belongs to one process, and which a forked child must not share with its parent.
        self._lock = threading.RLock()
        self._outbox: _Box | None = None
        self._pid = 0
        self._relay: RelayThread | None = None
        self._new_id = IdSource().new
        self._retry_at = 0.0
        self._quiet_until = 0.0
        #: Events that this process could not take, because its outbox was full or could not be opened.
        self.refused = 0

    @staticmethod
    def resolve_context() -> dict[str, Any]:
        """What an event emitted now would carry as its context: all that is bound, merged."""
        return dict(current().merged)

    def emit(self, name: str, data: Mapping[str, Any] | None = None) -> str:
        """Record that something happened. Takes microseconds, and never waits for a network.

        Args:
            name: Such as ``edx.course.enrollment.activated``: 1 to 255 printable characters. Names that start with
                ``edx.bi.`` are internal.
            data: What there is to say about it, as a dict of JSON values; dates, UUIDs and the like become text.
                With ``event_source`` "browser" in the context it may be text, as edX's browser events are.

        Returns:
            The event's id, a UUID of version 7.

        Raises:
            InvalidEventError: Only with ``strict = true``. Otherwise what cannot be taken becomes a dead letter.
            OutboxError: Only with ``strict = true``. Otherwise the event is counted as refused, and logged.
        """
        event_id = self._new_id()
        bound = current()
        if self._pid == _getpid() and type(name) is str and name in self._names:
            raw = bound.json
            if raw is not None and not self._processors and (data is None or type(data) is dict):
                try:
                    payload = _encode(_Envelope(event_id, "event", name, _now(UTC), data or {}, raw))
                # Any failure is looked into, and then raised or made a dead letter, in _submit.
                except ENCODING_ERRORS:
                    payload = None
                if (
                    payload is not None
                    and len(payload) <= self._max_bytes
                    # msgspec writes NaN and infinity as null, so a null in the data has to be looked into.
                    and payload.find(b"null", 0, -bound.size) < 0
                ):
                    try:
                        self._outbox.append(payload)  # type: ignore[union-attr]
                    except OutboxError as error:
                        self._refuse(name, error)
                    return event_id
        return self._submit(event_id, "event", name, data, _now(UTC), bound)

    def submit(
        self,
        kind: EventType,
        name: str,
        data: Any,
        *,
        timestamp: datetime | None = None,
        context: Mapping[str, Any] | None = None,
        event_id: str | None = None,
    ) -> str:
        """Take an event of any type, with a time, context or id of its own where it has one.

        This is what ``segment.track`` and the like, and imports of recorded events, are made of. Everything else is
        as with ``emit``.
        """
        bound = current() if context is None else BoundContext((("own", context),))
        moment = _now(UTC) if timestamp is None else timestamp
        return self._submit(event_id or self._new_id(), kind, name, data, moment, bound)

    def _submit(self, event_id: str, kind: EventType, name: str, data: Any, moment: datetime, bound: BoundContext) -> str:
        outbox = self._open()
        try:
            payload = self._encode(event_id, kind, name, data, moment, bound)
        except DropEvent as drop:
            payload = _encode(_Envelope(event_id, "dropped", name, moment, {"reason": drop.reason}, _NO_CONTEXT))
        except InvalidEventError as error:
            if self._strict:
                raise
            self._complain(error)
            payload = self._dead_letter(event_id, name, data, moment, bound, error)
        if outbox is None:
            return event_id
        try:
            outbox.append(payload)
        except OutboxError as error:
            self._refuse(name, error)
        return event_id

    def _encode(
        self, event_id: str, kind: EventType, name: str, data: Any, moment: datetime, bound: BoundContext
    ) -> bytes:
        self._check_name(name)
        data = self._check_data(kind, name, data, bound)
        raw = bound.json
        try:
            if raw is None:
                raise ValueError
            payload = _encode(_Envelope(event_id, kind, name, moment, data, raw))
            if b"null" in payload and find_non_finite(data) is not None:
                raise ValueError
        except ENCODING_ERRORS as error:
            problem = diagnose("context", bound.merged) if raw is None else diagnose("data", data)
            raise NotEncodableError(
                f"the event {_short(name)} cannot be encoded: {problem or error}", event_name=name
            ) from error
        if self._processors:
            payload = self._process(name, payload)
        if len(payload) > self._max_bytes:
            raise EventTooLargeError(
                f"the event {_short(name)} is {len(payload):,} bytes of JSON, more than outbox.max_event_bytes "
                f"({self._max_bytes:,}): send a reference to the large value instead of the value, or raise "
                "DISPATCHER_OUTBOX__MAX_EVENT_BYTES",
                event_name=name,
            )
        return payload

    def _check_name(self, name: str) -> None:
        if type(name) is str and name in self._names:
            return
        if not isinstance(name, str) or not name:
            what = "is empty" if isinstance(name, str) else f"is {describe(name, limit=80)}, not a string"
        elif len(name) > MAX_NAME_CHARACTERS:
            what = f"has {len(name):,} characters, more than {MAX_NAME_CHARACTERS}"
        elif not name.isprintable():
            what = "holds a line break or another character that cannot be printed"
        else:
            if len(self._names) >= _MAX_KNOWN_NAMES:
                self._names.clear()
            self._names.add(str(name))
            return
        raise InvalidEventError(
            f"the event name {_short(name)} {what}: pass a short constant such as 'shop.order.paid', "
            "and put what varies into data",
            event_name=_short(name),
        )

    @staticmethod
    def _check_data(kind: EventType, name: str, data: Any, bound: BoundContext) -> Any:
        if data is None:
            return {}
        if isinstance(data, Mapping):
            return data if type(data) is dict else dict(data)
        if isinstance(data, str) and kind == "event" and bound.merged.get("event_source") == "browser":
            return data
        raise InvalidEventError(
            f"the data of the event {_short(name)} must be a dict, not {type(data).__name__} "
            f"({describe(data, limit=80)}): pass {{'value': …}}",
            event_name=name,
        )

    def _process(self, name: str, payload: bytes) -> bytes:
        # Processors get what a destination would get, with text for dates, and can change nothing of the caller's.
        event: Event = decode(payload)
        for processor in self._processors:
            try:
                event = processor(event)
                payload = encode(event)
            except DropEvent:
                raise
            except Exception as error:
                raise ProcessorError(
                    f"the processor {getattr(processor, '__name__', processor)!r} failed on the event {_short(name)} "
                    f"with {type(error).__name__}: mend it; the event was kept as a dead letter",
                    event_name=name,
                ) from error
        return payload

    def _dead_letter(
        self, event_id: str, name: str, data: Any, moment: datetime, bound: BoundContext, error: InvalidEventError
    ) -> bytes:
        # Without the context where that is at fault; a processor's failure keeps nothing that it was there to redact.
        unsafe = isinstance(error, ProcessorError)
        letter = {
            "reason": error.reason,
            "error": _text(str(error)),
            "data": "" if unsafe else describe(data),
        }
        raw = _NO_CONTEXT if unsafe or bound.json is None else bound.json
        if bound.size > self._max_bytes // 2:
            raw = _NO_CONTEXT
        return _encode(_Envelope(event_id, "dead", _short(name), moment, letter, raw))

    def _open(self) -> _Box | None:
        """The outbox of this process, opened where it is not yet; None where that fails, with strict off."""
        if self._pid == _getpid():
            return self._outbox
        if self._pid != 0:
            # Forked by something that runs no at-fork hooks, as uWSGI may be set to.
            self.after_fork()
        with self._lock:
            if self._pid == _getpid():
                return self._outbox
            if time.monotonic() < self._retry_at:
                self.refused += 1
                return None
            try:
                self._start()
            except (OutboxError, SettingsError) as error:
                self._retry_at = time.monotonic() + _REOPEN_SECONDS
                self._refuse("", error)
                return None
            return self._outbox

    def _start(self) -> None:
        # Not at the top of the file: what emits in tests, or from a process that never emits, needs none of these.
        from dispatcher import config, processors  # noqa: PLC0415

        if self._given_outbox is not None:
            self._outbox, self._pid = self._given_outbox, _getpid()
            return
        settings = self._settings if self._settings is not None else config.load()
        self._settings = settings
        self._strict = settings.strict
        self._max_bytes = settings.outbox.max_event_bytes
        self._processors = (*processors.load(settings.processors), *self._given_processors)
        outbox = Outbox(
            settings.outbox_directory,
            journal_bytes=settings.outbox.journal_bytes,
            max_bytes=settings.outbox.max_bytes,
            sync_seconds=settings.outbox.sync_seconds,
        )
        if settings.relay.mode == "thread":
            from dispatcher.relay import RelayThread  # noqa: PLC0415 - brings Redis with it

            self._relay = RelayThread(settings, own=outbox)
            self._relay.start()
        self._outbox, self._pid = outbox, _getpid()

    def after_fork(self) -> None:
        """In a forked child: leave the parent's outbox alone. Called by itself; may be called twice."""
        if self._outbox is not None:
            self._outbox.abandon()
        self._forget_process()

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until everything emitted so far is in the batch store, for up to ``timeout`` seconds.

        Returns:
            True if it is. False leaves it in the outbox, from where it is delivered later.
        """
        outbox = self._outbox
        if outbox is None or self._pid != _getpid():
            return True
        target = outbox.position
        deadline = time.monotonic() + timeout
        while not outbox.has_relayed(target):
            if time.monotonic() >= deadline:
                return False
            if self._relay is not None:
                self._relay.wake()
            time.sleep(0.005)
        return True

    def close(self) -> None:
        """Flush for up to ``outbox.exit_flush_seconds`` and let go of the outbox. The next event opens another."""
        with self._lock:
            if self._outbox is None or self._pid != _getpid():
                return
            if self._settings is not None and self._relay is not None:
                self.flush(self._settings.outbox.exit_flush_seconds)
                self._relay.stop()
            self._outbox.close()
            self._outbox, self._relay, self._pid = None, None, 0

    def _refuse(self, name: str, error: OutboxError | SettingsError) -> None:
        self.refused += 1
        if self._strict:
            raise error
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + _COMPLAIN_SECONDS
            logger.error("the event %s was refused, %d so far in this process: %s", _short(name), self.refused, error)

    def _complain(self, error: InvalidEventError) -> None:
        key = (error.event_name, error.reason)
        if key not in self._complained and len(self._complained) < _MAX_KNOWN_NAMES:
            self._complained.add(key)
            logger.error("%s. It was kept as a dead letter; more of this name and reason are not logged", error)


def _short(name: object) -> str:
    return name if isinstance(name, str) and len(name) <= 80 and name.isprintable() else describe(name, limit=80)


def _text(value: str) -> str:
    return value.encode("utf-8", "backslashreplace").decode()


_default = Tracker()


def get_tracker() -> Tracker:
    """The default tracker, which ``tracker.emit`` and ``segment.track`` speak to."""
    return _default


def set_tracker(tracker: Tracker) -> Tracker:
    """Make ``tracker`` the default one; returns the one before it, still open."""
    global _default  # noqa: PLW0603 - the one place that holds the default
    before, _default = _default, tracker
    return before


def emit(name: str, data: Mapping[str, Any] | None = None) -> str:
    """Record that something happened, with the default tracker. See ``Tracker.emit``."""
    return _default.emit(name, data)


def configure(settings: Settings | None = None, **overrides: Any) -> Settings:
    """Say in code where things are, before the first event; call it once, where the app starts.

    Without it, the settings files and the environment are read at the first event.

    Args:
        settings: A whole object, from ``dispatcher.config.load``; None reads the files and the environment.
        overrides: Settings that win over both, such as ``broker_url="redis://…"`` or ``outbox={"directory": "…"}``;
            ``outbox__directory="…"`` is the same.

    Returns:
        The settings in force.

    Raises:
        SettingsError: Something is missing or wrong; all of it is named at once.
    """
    from dispatcher import config, processors  # noqa: PLC0415

    if settings is None or overrides:
        settings = config.load(overrides=overrides)
    processors.load(settings.processors)
    if settings.relay.mode == "thread":
        import dispatcher.relay  # noqa: F401, PLC0415 - here rather than during the first request
    set_tracker(Tracker(settings)).close()
    return settings


def flush(timeout: float = 5.0) -> bool:
    """Wait until what the default tracker took is in the batch store. See ``Tracker.flush``."""
    return _default.flush(timeout)


def _after_fork() -> None:
    _default.after_fork()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(lambda: _default.close())
