"""Commit: puts events into the outbox of this process, and says when they are safe."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from dispatcher.collector.route import Accepted, Rejected
from dispatcher.emit.context import EMPTY, BoundContext
from dispatcher.errors import InvalidEventError, OutboxError
from dispatcher.intake.refused import Refused
from dispatcher.outcomes import NOT_ENCODABLE, TOO_LARGE
from dispatcher.store.event_ids import SOURCE_KEY
from dispatcher.tracker.tracker import Tracker

if TYPE_CHECKING:
    from dispatcher.config import Settings
    from dispatcher.outbox.base import OutboxLike

# Seconds after which a client tries again where the outbox takes nothing, with jitter so that not all come at once.
_RETRY_SECONDS: Final = (1, 10)


def retry_after() -> dict[str, str]:
    """The header: whole seconds, since analytics.js reads no others."""
    return {"retry-after": str(random.randint(*_RETRY_SECONDS))}


class Committer:
    """Appends the events of requests to one outbox. For one event loop.

    Args:
        settings: Their outbox, relay and processors are those of ``tracker.emit``.
        outbox: Used instead of theirs, by the memory twin.
    """

    def __init__(self, settings: Settings, outbox: OutboxLike | None = None) -> None:
        # Strict, so that what cannot be taken is said to the client instead of becoming a dead letter.
        strict = settings.model_copy(update={"strict": True})
        self._tracker = Tracker(strict, outbox=outbox, strict=True, ids_repeat=True)
        #: Whether an answer waits for the disk.
        self.is_synced: Final = settings.collector.durability == "disk"
        self._wait, self._events = settings.collector.commit_seconds, settings.collector.commit_events
        self._waiting: list[asyncio.Future[None]] = []
        self._unsynced = 0
        self._timer: asyncio.TimerHandle | None = None
        self._thread = ThreadPoolExecutor(1, "dispatcher-commit") if self.is_synced else None
        self._syncing: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Open the outbox before the first event. Blocks for some milliseconds. Raises OutboxError, SettingsError."""
        self._tracker.open()

    def append(self, accepted: Accepted) -> Refused | None:
        """Append the events of a request; those that no event can be made of join ``accepted.rejected``.

        They survive the death of this process from then on. Does not block.

        Returns:
            The refusal where the outbox takes nothing now; the client sends all of it again, with the same ids.
        """
        kept = []
        # Events of one request mostly have one context, which is encoded once; and often the next request has it too.
        memory = accepted.memory
        shared, bound = (None, EMPTY) if memory is None or memory.bound is None else memory.bound
        source, submit = accepted.source, self._tracker.submit_decoded
        try:
            for index, event in enumerate(accepted.events):
                if event.context is not shared:
                    shared = event.context
                    known = dict(shared)
                    if source is not None:
                        # Behind all others, where the relay looks for it.
                        known.pop(SOURCE_KEY, None)
                        known[SOURCE_KEY] = source.name
                    bound = BoundContext((("request", known),))
                    if memory is not None:
                        memory.bound = shared, bound
                try:
                    submit(event, bound)
                except InvalidEventError as error:
                    place = index if accepted.indexes is None else accepted.indexes[index]
                    accepted.rejected.append(Rejected(place, event.id[:100], error.reason, _plain(error)))
                else:
                    kept.append(event)
            accepted.events = kept
        except (OutboxError, OSError):
            return _refuse()
        return None

    async def wait_until_safe(self, count: int) -> Refused | None:
        """With durability "disk", wait until so many events that were appended last are on the disk.

        Returns:
            As of ``append``.
        """
        if self.is_synced:
            try:
                await self._sync(count)
            except (OutboxError, OSError):
                return _refuse()
        return None

    async def _sync(self, count: int) -> None:
        """Wait for one sync that begins after this call and covers all that was appended before."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._waiting.append(future)
        self._unsynced += count
        if self._syncing is None:
            if self._unsynced >= self._events:
                self._start_sync()
            elif self._timer is None:
                self._timer = loop.call_later(self._wait, self._start_sync)
        await future

    def _start_sync(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._syncing is None and self._waiting:
            self._syncing = asyncio.get_running_loop().create_task(self._sync_once())

    async def _sync_once(self) -> None:
        waiting, self._waiting, self._unsynced = self._waiting, [], 0
        error: Exception | None = None
        try:
            sync: Callable[[], None] = self._tracker.sync
            await asyncio.get_running_loop().run_in_executor(self._thread, sync)
        except (OutboxError, OSError, ValueError) as raised:
            error = raised if isinstance(raised, OutboxError) else OSError(str(raised))
        for future in waiting:
            if not future.done():
                if error is None:
                    future.set_result(None)
                else:
                    future.set_exception(error)
        self._syncing = None
        # Those that came meanwhile have waited for as long as a sync takes already.
        self._start_sync()

    def close(self) -> None:
        """Flush for up to ``outbox.exit_flush_seconds`` and close the outbox. Blocks."""
        self._tracker.close()
        if self._thread is not None:
            self._thread.shutdown(wait=False)


def _refuse() -> Refused:
    return Refused(503, "outbox", "the collector cannot take events now: send them again later", retry_after())


def _plain(error: InvalidEventError) -> str:
    # The message of emit repeats parts of the event.
    return {
        TOO_LARGE: "the event is too large: send a reference to the large value instead of the value",
        NOT_ENCODABLE: "a value is NaN, infinite, or a number of more than 300 digits: send null, or text",
    }.get(error.reason, "the event cannot be taken: its id, name, timestamp or data is not as the documentation says")
