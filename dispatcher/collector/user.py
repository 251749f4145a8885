"""User: asks a function of the site who sent a request, by its cookies. Its mistakes and its slowness cost no event."""

from __future__ import annotations

import asyncio
import importlib
import logging
import queue
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from dispatcher.errors import SettingsError
from dispatcher.process.clock import monotonic
from dispatcher.request.cookies import read_cookies
from dispatcher.secrecy.foreign_error import describe_error, type_name
from dispatcher.secrecy.visitor import CONTEXT_KEY as MAILBOX_KEY
from dispatcher.store.event_ids import SOURCE_KEY
from dispatcher.wire import encode_json

if TYPE_CHECKING:
    from dispatcher.monitoring.intake import Intake

logger = logging.getLogger(__name__)

#: Gets the headers, by names in lower case, and the cookies of a request. Returns what goes into the context of its
#: events, such as ``user_id``, ``username`` and ``session``; None for nobody. Called by several threads at once.
UserFunction = Callable[[Mapping[str, str], Mapping[str, str]], Mapping[str, Any] | None]

_THREADS: Final = 8
_MAX_BYTES: Final = 4096
_LOG_SECONDS: Final = 60.0
# Where the request came from is known here, and what it says is the page's.
_NOT_THEIRS: Final = frozenset({"event_source", "event_type", "timestamp", "received_at", SOURCE_KEY, MAILBOX_KEY})


class UserLookup:
    """Calls the function in threads of its own. For one event loop.

    Args:
        entry: ``collector.user``: package.module:function.
        seconds: How long a request waits for it.
        counts: ``dispatcher_collector_user_failures_total`` grows where a request goes on without it, by reason.

    Raises:
        SettingsError: It cannot be imported, or cannot be called.
    """

    def __init__(self, entry: str, seconds: float, counts: Intake) -> None:
        module, _, attribute = entry.partition(":")
        try:
            function: Any = importlib.import_module(module)
            for name in attribute.split("."):
                function = getattr(function, name)
        except Exception as error:  # whatever the module does as it is imported
            is_missing = isinstance(error, ImportError | AttributeError)
            what = f"{type(error).__name__}: {error}" if is_missing else describe_error(error)
            raise SettingsError([f"collector.user: {entry!r} cannot be imported ({what})"]) from error
        if not callable(function):
            raise SettingsError([f"collector.user: {entry!r} is {type_name(function)}, which cannot be called"])
        self._function: UserFunction = function
        self._seconds = seconds
        self._counts = counts
        self._calls: queue.SimpleQueue[tuple[asyncio.Future[dict[str, Any]], Mapping[str, str]]] = queue.SimpleQueue()
        self._running = 0
        self._threads = 0
        self._logged_at = float("-inf")

    async def find(self, headers: Mapping[str, str]) -> dict[str, Any]:
        """What the function says of a request. Empty where it says nothing, fails, or takes too long.

        Once as many calls hang as there are threads, no request waits until one of them has ended.

        Args:
            headers: By name in lower case.
        """
        if self._running >= _THREADS:
            return self._fail("busy", "all of its threads are taken")
        if self._threads <= self._running:
            self._threads += 1
            # Daemons: a function that hangs must not keep the collector from ending.
            threading.Thread(target=self._work, name=f"dispatcher-user-{self._threads}", daemon=True).start()
        self._running += 1
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        future.add_done_callback(self._end)
        self._calls.put((future, headers))
        try:
            return await asyncio.wait_for(asyncio.shield(future), self._seconds)
        except TimeoutError:
            return self._fail("slow", f"it takes longer than collector.user_seconds ({self._seconds:g})")
        except Exception as error:  # whatever the function raises
            return self._fail("failed", describe_error(error))

    def _end(self, future: asyncio.Future[dict[str, Any]]) -> None:
        self._running -= 1
        if not future.cancelled():
            future.exception()  # it was counted, or came too late

    def _fail(self, reason: str, why: str) -> dict[str, Any]:
        self._counts.user_failures[reason] += 1
        if monotonic() - self._logged_at >= _LOG_SECONDS:
            self._logged_at = monotonic()
            logger.warning("collector.user: events go on without their user: %s", why)
        return {}

    def _work(self) -> None:
        while True:
            future, headers = self._calls.get()
            found: dict[str, Any] = {}
            error: Exception | None = None
            try:
                found = _read(self._function(headers, read_cookies(headers.get("cookie", ""))))
            except BaseException as raised:  # SystemExit too: a thread less would be missed at the next call
                error = raised if isinstance(raised, Exception) else RuntimeError(type_name(raised))
            loop = future.get_loop()
            try:
                if error is None:
                    loop.call_soon_threadsafe(future.set_result, found)
                else:
                    loop.call_soon_threadsafe(future.set_exception, error)
            except RuntimeError:  # the loop has ended
                return


def _read(answer: object) -> dict[str, Any]:
    """What the function returned. Raises TypeError or ValueError where no context can be made of it."""
    if answer is None:
        return {}
    if not isinstance(answer, Mapping):
        raise TypeError("collector.user must return a dict or None")
    found = {str(key): value for key, value in answer.items() if key not in _NOT_THEIRS}
    # Here, where it costs the user and not the event.
    if len(encode_json(found)) > _MAX_BYTES:
        raise ValueError("collector.user returned more than 4,096 bytes of JSON")
    return found
