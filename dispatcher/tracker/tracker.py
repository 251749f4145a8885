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
from weakref import WeakSet

from dispatcher.emit.context import EMPTY, BoundContext, context, current, enter_context, exit_context
from dispatcher.emit.diagnosis import ENCODING_ERRORS, holds_non_finite
from dispatcher.emit.encoding import EventEncoder, own_context, short
from dispatcher.emit.ids import IdSource
from dispatcher.errors import DropEvent, InvalidEventError, OutboxError, SettingsError
from dispatcher.event import EventType, is_id
from dispatcher.outbox import Outbox, abandon_inherited
from dispatcher.process.fork_mark import fork_mark
from dispatcher.process.inheritance import let_go_of_inherited
from dispatcher.wire import NULL, Envelope, encode_json

if TYPE_CHECKING:
    from dispatcher.config import Settings
    from dispatcher.emit.processors import Processor
    from dispatcher.relay.thread import RelayThread

__all__ = [
    "Tracker",
    "configure",
    "context",
    "emit",
    "enter_context",
    "exit_context",
    "flush",
    "get_tracker",
    "set_tracker",
]

logger = logging.getLogger(__name__)

# Seconds between tries to open an outbox that could not be opened, and between log lines about refused events.
_REOPEN_SECONDS: Final = 1.0
_COMPLAIN_SECONDS: Final = 60.0
# Kinds of complaint remembered, so that each is logged once.
_MAX_COMPLAINTS: Final = 10_000
# Before the settings are read, as with the memory twin: the settings' own default.
_MAX_EVENT_BYTES: Final = 1 << 20

_now = datetime.now


# The arguments of Tracker._take.
_Submission = tuple[str, EventType, str, Any, datetime, BoundContext, Mapping[str, Any] | None]


class _Box(Protocol):
    """What a tracker needs of an outbox."""

    @property
    def position(self) -> int: ...
    def has_relayed(self, position: int) -> bool: ...
    def append(self, payload: bytes) -> None: ...
    def close(self) -> None: ...
    def abandon(self) -> None: ...


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
        self._strict = strict
        self._encoder = EventEncoder(max_bytes=_MAX_EVENT_BYTES, processors=processors)
        self._complained: set[tuple[str, str]] = set()
        # Set while the outbox is this process's own, and wiped in a forked child.
        self._here = fork_mark()
        self._forget_process()

    def _forget_process(self) -> None:
        # Everything that belongs to one process, and which a forked child must not share with its parent.
        self._here[0] = 0
        self._lock = threading.RLock()
        self._outbox: _Box | None = None
        self._relay: RelayThread | None = None
        # The thread that opens the outbox, and what it emits on top of that.
        self._opener = 0
        self._late: list[_Submission] = []
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
        # This is the fast road, for an event with nothing remarkable about it; every other one goes by submit's.
        outbox = self._outbox
        encoder = self._encoder
        if (
            outbox is None
            or not self._here[0]
            or encoder.processors
            or type(name) is not str
            or name not in encoder.known_names
            or (type(data) is not dict and data is not None)
        ):
            return self.submit("event", name, data)
        bound = current()
        raw = bound.json
        if raw is None:
            return self.submit("event", name, data)
        event_id = self._new_id()
        moment = _now(UTC)
        try:
            payload = encode_json(Envelope(event_id, "event", name, moment, data or {}, raw))
        except ENCODING_ERRORS:  # looked into, and then raised or made a dead letter, over there
            return self._take(event_id, "event", name, data, moment, bound)
        if len(payload) > encoder.max_bytes or (payload.find(NULL, 0, bound.data_end) >= 0 and holds_non_finite(data)):
            return self._take(event_id, "event", name, data, moment, bound)
        try:
            outbox.append(payload)
        except OutboxError as error:
            self._refuse(name, error)
        return event_id

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
        moment = _now(UTC) if timestamp is None else timestamp
        self._open()  # before an id is made: in a forked child it starts a sequence of its own
        event_id = self._new_id() if event_id is None else event_id
        bound = current() if context is None else EMPTY
        if self._opener == threading.get_ident():
            # A signal handler emits while the outbox is opened below it on the stack: once that is done, it is taken.
            self._late.append((event_id, kind, name, data, moment, bound, context))
            return event_id
        return self._take(event_id, kind, name, data, moment, bound, context)

    def _take(
        self,
        event_id: str,
        kind: EventType,
        name: str,
        data: Any,
        moment: datetime,
        bound: BoundContext,
        own: Mapping[str, Any] | None = None,
    ) -> str:
        try:
            bound = bound if own is None else own_context(name, own)
            payload = self._encoder.encode(event_id, kind, name, data, moment, bound)
        except DropEvent as drop:
            payload = self._encoder.dropped(event_id, name, moment, drop)
        except InvalidEventError as error:
            if self._strict:
                raise
            self._complain(error)
            event_id = event_id if is_id(event_id) else self._new_id()
            payload = self._encoder.dead_letter(event_id, name, data, moment, bound, error)
        outbox = self._outbox
        if outbox is None:  # it could not be opened, or another thread has closed it since
            self.refused += 1
            return event_id
        try:
            outbox.append(payload)
        except OutboxError as error:
            self._refuse(name, error)
        return event_id

    def _open(self) -> None:
        """Open the outbox of this process where it is not yet. With strict off, failing to is logged."""
        if self._is_open():
            return
        if self._outbox is not None:
            # Forked by something that runs no at-fork hooks, as uWSGI may be set to.
            self.after_fork()
        lock = threading.RLock()
        if type(lock) is not type(self._lock):
            # gevent has replaced threads since, as gunicorn's worker does after a preload: to a lock of old, all
            # greenlets are one thread, and each of them would open an outbox.
            self._lock = lock
        with self._lock:
            if self._is_open() or self._opener == threading.get_ident():
                return
            if time.monotonic() < self._retry_at and not self._strict:
                return
            self._opener = threading.get_ident()
            try:
                self._start()
            except (OutboxError, SettingsError) as error:
                self._retry_at = time.monotonic() + _REOPEN_SECONDS
                self._say_refused(error, "since there is no outbox")
            finally:
                self._opener = 0
            while self._late:
                self._take(*self._late.pop(0))

    def _is_open(self) -> bool:
        return bool(self._here[0])

    def _start(self) -> None:
        if self._given_outbox is not None:
            self._outbox = self._given_outbox
            self._here[0] = 1
            return
        # Not at the top of the file: what emits in tests, or never emits, needs none of these.
        from dispatcher import config  # noqa: PLC0415
        from dispatcher.emit import processors  # noqa: PLC0415

        settings = self._settings if self._settings is not None else config.load()
        self._settings = settings
        self._strict = settings.strict
        self._encoder = EventEncoder(
            max_bytes=settings.outbox.max_event_bytes,
            processors=(*processors.load(settings.processors), *self._given_processors),
        )
        outbox = Outbox(
            settings.outbox_directory,
            journal_bytes=settings.outbox.journal_bytes,
            max_bytes=settings.outbox.max_bytes,
            sync_seconds=settings.outbox.sync_seconds,
        )
        if settings.relay.mode == "thread":
            from dispatcher.relay.thread import RelayThread  # noqa: PLC0415 - brings Redis with it

            self._relay = RelayThread(settings, own=outbox)
            try:
                self._relay.start()
            except RuntimeError as error:  # no more threads, or the interpreter is ending
                logger.error("the relay's thread cannot be started: %s; events wait for another relay", error)
                self._relay = None
        if os.getpid() != outbox.pid:
            # A greenlet was copied in the middle of this, into a child that has let go of that outbox.
            self._start()
            return
        self._outbox = outbox
        self._here[0] = 1
        _used.add(self)

    def after_fork(self) -> None:
        """In a forked child: leave the parent's outbox alone. Called by itself; may be called twice."""
        if self._outbox is not None:
            self._outbox.abandon()
        let_go_of_inherited()
        abandon_inherited()
        self._forget_process()

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until everything emitted so far is in the batch store, for up to ``timeout`` seconds.

        Returns:
            True if it is. False leaves it in the outbox, from where it is delivered later.
        """
        outbox = self._outbox
        if outbox is None or not self._here[0]:
            return True
        target, pid = outbox.position, os.getpid()
        deadline = time.monotonic() + timeout
        while not outbox.has_relayed(target):
            if time.monotonic() >= deadline:
                return False
            if self._relay is not None:
                self._relay.wake()
            time.sleep(0.005)
            if os.getpid() != pid:
                return False  # the copy of a greenlet, in a forked child: the rest is up to the parent
        return True

    def close(self) -> None:
        """Flush for up to ``outbox.exit_flush_seconds`` and let go of the outbox. The next event opens another."""
        with self._lock:
            outbox, relay = self._outbox, self._relay
            if outbox is None or not self._here[0]:
                return
            if relay is not None and self._settings is not None:
                self.flush(self._settings.outbox.exit_flush_seconds)
                if self._outbox is not outbox:
                    return  # the same: in a forked child it is not there any more
            self._here[0] = 0
            self._outbox, self._relay = None, None
            if relay is not None:
                relay.stop()
            outbox.close()

    def _refuse(self, name: str, error: OutboxError) -> None:
        self.refused += 1
        self._say_refused(error, f"{self.refused} so far in this process, {short(name)} the latest")

    def _say_refused(self, error: OutboxError | SettingsError, story: str) -> None:
        if self._strict:
            raise error
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + _COMPLAIN_SECONDS
            logger.error("events are refused, %s: %s", story, error)

    def _complain(self, error: InvalidEventError) -> None:
        key = (error.event_name, error.reason)
        if key not in self._complained and len(self._complained) < _MAX_COMPLAINTS:
            self._complained.add(key)
            logger.error("%s. It was kept as a dead letter; more of this name and reason are not logged", error)


# Those that may have an outbox, for a forked child to let go of.
_used: Final[WeakSet[Tracker]] = WeakSet()

_default = Tracker()


def get_tracker() -> Tracker:
    """The default tracker, which ``tracker.emit`` and ``segment.track`` speak to."""
    return _default


def set_tracker(tracker: Tracker) -> Tracker:
    """Make ``tracker`` the default one; returns the one before it, still open."""
    global _default
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
        TypeError: Both settings and overrides were given.
    """
    from dispatcher import config  # noqa: PLC0415
    from dispatcher.emit import processors  # noqa: PLC0415

    if settings is None:
        settings = config.load(overrides=overrides)
    elif overrides:
        raise TypeError(f"give either settings or overrides ({', '.join(overrides)}), not both")
    processors.load(settings.processors)
    if settings.relay.mode == "thread":
        # Here rather than during the first request.
        import dispatcher.relay.thread  # noqa: F401, PLC0415
        from dispatcher.store.celery_producer import load_celery  # noqa: PLC0415

        load_celery(settings)
    set_tracker(Tracker(settings)).close()
    return settings


def flush(timeout: float = 5.0) -> bool:
    """Wait until what the default tracker took is in the batch store. See ``Tracker.flush``."""
    return _default.flush(timeout)


# The lock that is held across a fork, for the parent to release.
_held: Final[list[threading.RLock]] = []


def _before_fork() -> None:
    # What another thread is in the middle of, such as the imports of the first event, would never end in the child.
    lock = _default._lock
    lock.acquire()
    _held.append(lock)


def _after_fork_in_parent() -> None:
    _held.pop().release()


def _after_fork() -> None:
    _held.clear()
    for tracker in {_default, *_used}:
        tracker.after_fork()


def _at_exit() -> None:
    _default.close()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork)
atexit.register(_at_exit)
