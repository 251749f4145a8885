"""Tracker: takes events into the outbox of its process.

The one rule of this file: nothing that ``emit`` does may wait for a network, another process or a disk.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, cast
from weakref import WeakSet

from dispatcher.emit.context import EMPTY, BoundContext, context, current, enter_context, exit_context
from dispatcher.emit.diagnosis import ENCODING_ERRORS, holds_non_finite
from dispatcher.emit.encoding import EventEncoder, read_context, short_name, unreadable
from dispatcher.emit.error_log import ErrorLog
from dispatcher.emit.expansion import encode_bounded, may_expand
from dispatcher.emit.ids import IdSource
from dispatcher.errors import DropEvent, InvalidEventError, OutboxError, SettingsError
from dispatcher.event import Event, EventType, is_id
from dispatcher.outbox import MemoryOutbox, abandon_inherited
from dispatcher.outbox.base import OutboxLike
from dispatcher.outbox.relay_fifo import OPENED, wake_relay
from dispatcher.process.clock import monotonic
from dispatcher.process.fork_mark import fork_mark
from dispatcher.process.inheritance import release_inherited
from dispatcher.wire import FIRST_DATA, NULL, Envelope, encode_json, plain_text

if TYPE_CHECKING:
    from dispatcher.config import Settings
    from dispatcher.emit.processors import Processor
    from dispatcher.relay.thread import RelayThread

# Seconds between attempts to open an outbox that could not be opened.
_REOPEN_SECONDS: Final = 1.0
# The settings' own default, for as long as no settings were read, and for the memory twin, which reads none.
_MAX_EVENT_BYTES: Final = 1 << 20
# Events that are kept where outbox.storage is "memory": more than a test emits, and some megabytes.
_MEMORY_EVENTS: Final = 10_000

logger = logging.getLogger(__name__)

# The arguments of Tracker._take.
_Submission = tuple[str, EventType, str, Any, datetime, BoundContext, Mapping[str, Any] | BoundContext | None]


#: Trackers that may have an outbox, which a forked child has to abandon.
used_trackers: Final[WeakSet[Tracker]] = WeakSet()


class Tracker:
    """Takes events into the outbox of this process. Safe in threads, asyncio, greenlets and after a fork.

    The outbox is opened at the first event, and again in each forked child at its own first event.

    Args:
        settings: Where the outbox is and what it may hold; None reads the settings files and the environment.
        outbox: Used instead of a durable outbox, by the memory twin.
        processors: Called with each event before it is taken, after the settings' own.
        strict: With a given outbox, whether an event that cannot be taken raises.
        ids_repeat: Whether events come with ids of clients, which send again what may have been taken already. The
            relay lets each id through once then (``collector.duplicate_seconds``).
    """

    context = staticmethod(context)
    enter_context = staticmethod(enter_context)
    exit_context = staticmethod(exit_context)

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        outbox: OutboxLike | None = None,
        processors: Sequence[Processor] = (),
        strict: bool = False,
        ids_repeat: bool = False,
    ) -> None:
        self._settings = settings
        self._given_outbox = outbox
        self._given_processors = tuple(processors)
        self._strict = strict
        self._ids_repeat = ids_repeat
        self._encoder = EventEncoder(max_bytes=_MAX_EVENT_BYTES, processors=processors)
        self._log = ErrorLog()
        # Set while the outbox is open in this process, and wiped in a forked child.
        self._is_open_here = fork_mark()
        self._forget_process()

    def _forget_process(self) -> None:
        # Everything that belongs to one process, and that a forked child must not share with its parent.
        self._is_open_here[0] = 0
        self._lock = threading.RLock()
        self._outbox: OutboxLike | None = None
        self._relay: RelayThread | None = None
        # The thread that opens the outbox, and the events that it emits while it does.
        self._opener = 0
        self._pending: list[_Submission] = []
        self._new_id = IdSource().new
        self._reopen_at = 0.0
        #: Events that this process could not take, because its outbox was full or could not be opened.
        self.refused = self._known_refused = 0

    @staticmethod
    def resolve_context() -> dict[str, Any]:
        """The context that an event emitted now would carry: everything bound, merged. A copy; does not block."""
        return dict(current().merged)

    def emit(self, name: str, data: Mapping[str, Any] | None = None) -> str:
        """Record that something happened. Takes microseconds, and never waits for a network.

        Args:
            name: Such as ``edx.course.enrollment.activated``: 1 to 255 printable characters. Names that start with
                ``edx.bi.`` are internal.
            data: The details, as a dict of JSON values; dates, UUIDs and the like become text. With
                ``event_source`` "browser" in the context it may be JSON of any type, as edX's browser events are.

        Returns:
            The event's id, a UUID of version 7.

        Raises:
            InvalidEventError: Only with ``strict = true``. Otherwise an event that cannot be taken becomes a dead
                letter.
            OutboxError: Only with ``strict = true``. Otherwise the event is counted as refused, and logged.
        """
        # The fast path, for an event with nothing unusual about it. Any other event goes through submit.
        outbox = self._outbox
        encoder = self._encoder
        if (
            outbox is None
            or not self._is_open_here[0]
            or encoder.processors
            or type(name) is not str
            or name not in encoder.known_names
            or (type(data) is not dict and data is not None)
        ):
            return self.submit("event", name, data)
        bound = current()
        context_json = bound.json
        if context_json is None:
            return self.submit("event", name, data)
        event_id = self._new_id()
        timestamp = datetime.now(UTC)  # looked up here, so that a test can freeze it
        try:
            envelope = Envelope(event_id, "event", name, timestamp, data or {}, context_json)
            payload = encode_bounded(envelope, encoder.max_encoded, name) if may_expand(data) else encode_json(envelope)
            if len(payload) > encoder.max_bytes or (
                payload.find(NULL, FIRST_DATA, bound.data_end) >= 0 and holds_non_finite(data)
            ):
                raise ValueError("too large, or with a number that JSON does not have")
        except ENCODING_ERRORS:  # _take finds out why, and raises it or makes a dead letter
            return self._take(event_id, "event", name, data, timestamp, bound)
        try:
            outbox.append(payload)
        except OutboxError as error:
            self._refuse(name, error)
        return event_id

    def submit(
        self,
        event_type: EventType,
        name: str,
        data: Any,
        *,
        timestamp: datetime | None = None,
        context: Mapping[str, Any] | BoundContext | None = None,
        event_id: str | None = None,
    ) -> str:
        """Take an event of any type, and with a time, a context or an id of its own.

        ``segment.track`` and the like call it, and so do imports of recorded events. Blocks no longer than ``emit``.

        Args:
            event_type: What the event is, such as ``event`` or ``track``.
            name: As in ``emit``.
            data: As in ``emit``.
            timestamp: When it happened; now, if not given. A time without a zone is taken for UTC.
            context: Replaces the bound context, even where it is empty. For several events of one context make a
                ``BoundContext`` of it, which is encoded once.
            event_id: Up to 100 printable characters; a new UUID, if not given.

        Returns:
            The event's id.

        Raises:
            InvalidEventError: As in ``emit``.
            OutboxError: As in ``emit``.
        """
        timestamp = datetime.now(UTC) if timestamp is None else timestamp
        name, event_id = cast("str", plain_text(name)), cast("str | None", plain_text(event_id))
        self._open()  # before an id is made: in a forked child it starts a sequence of its own
        event_id = self._new_id() if event_id is None else event_id
        bound = current() if context is None else EMPTY
        if self._opener == threading.get_ident():
            # A signal handler emits while this thread is opening the outbox. The event is taken once it is open.
            self._pending.append((event_id, event_type, name, data, timestamp, bound, context))
            return event_id
        return self._take(event_id, event_type, name, data, timestamp, bound, context)

    def submit_decoded(self, event: Event, bound: BoundContext) -> None:
        """Do what ``submit`` does, faster where nothing is unusual about an event that was decoded from JSON.

        Args:
            event: Its id, if any, is one, and its time is in UTC. Its context is not looked at.
            bound: The context instead.

        Raises:
            InvalidEventError: As in ``emit``.
            OutboxError: The outbox takes nothing now.
        """
        outbox, name = self._outbox, event.name
        payload = self._encoder.encode_decoded(event, bound) if outbox is not None and self._is_open_here[0] else None
        if outbox is not None and payload is not None:
            outbox.append(payload)
            return
        self.submit(event.type, name, event.data, timestamp=event.timestamp, context=bound, event_id=event.id or None)

    def _take(
        self,
        event_id: str,
        event_type: EventType,
        name: str,
        data: Any,
        timestamp: datetime,
        bound: BoundContext,
        own: Mapping[str, Any] | BoundContext | None = None,
    ) -> str:
        try:
            if own is not None:
                bound = own if type(own) is BoundContext else read_context(name, own)
            payload = self._encoder.encode(event_id, event_type, name, data, timestamp, bound)
        except DropEvent as drop:
            payload = self._encoder.encode_dropped(event_id, name, timestamp, drop)
        except Exception as raised:  # InvalidEventError; else the metaclass or the ABC of a value, which ran
            error = raised if isinstance(raised, InvalidEventError) else unreadable(name, raised)
            if self._strict:
                raise error from raised.__cause__
            self._log.dead(error)
            event_id = event_id if is_id(event_id) else self._new_id()
            payload = self._encoder.encode_dead_letter(event_id, name, data, timestamp, bound, error)
        outbox = self._outbox
        if outbox is None:  # it could not be opened, or another thread has closed it since
            self.refused += 1
            return event_id
        try:
            outbox.append(payload)
        except OutboxError as error:
            self._refuse(name, error)
        return event_id

    def _refuse(self, name: str, error: OutboxError) -> None:
        self.refused += 1
        self._raise_or_log(error, f"{self.refused} so far in this process, {short_name(name)} the latest")

    def _raise_or_log(self, error: OutboxError | SettingsError, circumstances: str) -> None:
        if self._strict:
            raise error
        self._log.refused(error, circumstances)

    def _open(self) -> None:
        """Open the outbox in this process unless it is open. With strict off, a failure is logged."""
        if self._is_open_here[0]:
            return
        if self._outbox is not None:
            # Forked by something that runs no at-fork hooks, as uWSGI may be set to.
            self.after_fork()
        lock = threading.RLock()
        if type(lock) is not type(self._lock):
            # gevent has replaced threads since, as gunicorn's worker does after a preload. The old lock takes all
            # greenlets for one thread, and each of them would open an outbox.
            self._lock = lock
        with self._lock:
            if self._is_open_here[0] or self._opener == threading.get_ident():
                return
            if monotonic() < self._reopen_at and not self._strict:
                return
            self._opener = threading.get_ident()
            try:
                self._start()
            except (OutboxError, SettingsError) as error:
                self._reopen_at = monotonic() + _REOPEN_SECONDS
                self._raise_or_log(error, "since there is no outbox")
            finally:
                self._opener = 0
            while self._pending:
                self._take(*self._pending.pop(0))

    def _start(self) -> None:
        if self._given_outbox is not None:
            self._outbox = self._given_outbox
            self._is_open_here[0] = 1
            return
        # Not at the top of the file: a process that never emits, and an app's own tests, need none of these.
        from dispatcher import config  # noqa: PLC0415
        from dispatcher.emit import processors  # noqa: PLC0415
        from dispatcher.tracker.opening import open_outbox  # noqa: PLC0415

        settings = self._settings if self._settings is not None else config.load()
        self._settings = settings
        self._strict = settings.strict
        self._encoder = EventEncoder(
            max_bytes=settings.outbox.max_event_bytes,
            processors=(*processors.load(settings.processors), *self._given_processors),
        )
        if settings.outbox.storage == "memory":
            level = logging.INFO if settings.environment == "development" else logging.WARNING
            logger.log(level, 'outbox.storage is "memory", as for tests: events of this process are not delivered')
            self._outbox = MemoryOutbox(limit=_MEMORY_EVENTS)
            self._is_open_here[0] = 1
            used_trackers.add(self)
            return
        outbox = open_outbox(settings, ids_repeat=self._ids_repeat)
        if settings.relay.mode == "thread":
            from dispatcher.relay.thread import RelayThread  # noqa: PLC0415 - brings Redis with it

            relay = RelayThread(settings, own=outbox)
            self._relay = relay if relay.start() else None
        else:
            wake_relay(settings.outbox_directory, OPENED)
        if os.getpid() != outbox.pid:
            # A greenlet was copied in the middle of this, into a child that has abandoned that outbox.
            self._start()
            return
        self._outbox = outbox
        self._is_open_here[0] = 1
        used_trackers.add(self)

    def open(self) -> None:
        """Open the outbox before the first event, and its relay. Blocks for some milliseconds; may be called twice.

        Raises:
            OutboxError: Only with ``strict = true``; as in ``emit``.
            SettingsError: Only with ``strict = true``: the settings that are read here are wrong.
        """
        self._open()

    def sync(self) -> None:
        """Wait until everything emitted so far is on the disk, where it survives a loss of power. Blocks.

        Raises:
            OSError: The disk did not take it.
            OutboxError: The outbox is closed.
        """
        outbox = self._outbox
        if outbox is not None and self._is_open_here[0]:
            outbox.sync()

    def after_fork(self) -> None:
        """In a forked child: abandon the parent's outbox. Runs by itself; may be called twice."""
        if self._outbox is not None:
            self._outbox.abandon()
        release_inherited()
        abandon_inherited()
        self._forget_process()
        self._log.after_fork()

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until everything emitted so far is in the batch store, for up to ``timeout`` seconds.

        Returns:
            True once it is. False leaves the rest in the outbox, from where it is delivered later; or, with strict off,
            says that events were refused since the last call, and are lost.
        """
        all_taken, self._known_refused = self._strict or self.refused == self._known_refused, self.refused
        outbox = self._outbox
        if outbox is None or not self._is_open_here[0]:
            return all_taken
        target, pid = outbox.position, os.getpid()
        deadline = monotonic() + timeout
        while not outbox.has_relayed(target):
            if monotonic() >= deadline:
                return False
            if self._relay is not None:
                self._relay.wake()
            time.sleep(0.005)
            if os.getpid() != pid:
                return False  # the copy of a greenlet, in a forked child: the rest is up to the parent
        return all_taken

    def close(self) -> None:
        """Flush for up to ``outbox.exit_flush_seconds``, and close the outbox. The next event opens another one."""
        with self._lock:
            outbox, relay = self._outbox, self._relay
            if outbox is None or not self._is_open_here[0]:
                return
            if relay is not None and self._settings is not None:
                self.flush(self._settings.outbox.exit_flush_seconds)
                if self._outbox is not outbox:
                    return  # the copy of a greenlet, in a forked child that has abandoned it
            self._is_open_here[0] = 0
            self._outbox, self._relay = None, None
            if relay is not None:
                relay.stop()
            outbox.close()
