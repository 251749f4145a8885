"""Browser: a collector in a thread of the test, whose events stay in memory, for pages in a real browser."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from dispatcher.event import Event
from dispatcher.outbox import MemoryOutbox
from dispatcher.testing.capture import Captured

_KEY: Final = "test"
# Seconds between two looks at what came.
_LOOK_SECONDS: Final = 0.02
# Seconds that requests have to end.
_END_SECONDS: Final = 2


class BrowserEvents(Captured):
    """What browsers and other clients sent inside ``capture_browser``, each event once, however often it was sent.

    Args:
        outbox: Of the collector.
        url: Where the collector is.
    """

    def __init__(self, outbox: MemoryOutbox, url: str) -> None:
        super().__init__(outbox)
        #: The collector's address, such as ``http://127.0.0.1:43210``. It has tracker.js, and takes events of any page.
        self.url: Final = url
        #: The write key that clients send.
        self.key: Final = _KEY

    @property
    def snippet(self) -> str:
        """The lines for the head of a page that load tracker.js from this collector, and send events to it at once."""
        from dispatcher.collector.client import files  # noqa: PLC0415 - reads the files

        return files.snippet(_KEY, base=self.url).replace("<script async", '<script async data-delay="0"')

    @property
    def events(self) -> list[Event]:
        """All events, oldest first. A browser that got no answer sends an event again, with the same id."""
        return list({event.id: event for event in reversed(super().events)}.values())[::-1]

    def wait_for(
        self,
        name: str,
        data: Mapping[str, Any] | None = None,
        *,
        context: Mapping[str, Any] | None = None,
        count: int | None = None,
        timeout_seconds: float = 10.0,
    ) -> list[Event]:
        """Wait until ``assert_emitted`` holds, since a browser sends later than it emits. Blocks.

        Args:
            name: As in ``assert_emitted``.
            data: As in ``assert_emitted``.
            context: As in ``assert_emitted``.
            count: How many there must be; None: one at least.
            timeout_seconds: After which it gives up.

        Returns:
            These events, oldest first.

        Raises:
            AssertionError: As of ``assert_emitted``, after the time-out.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                return self.assert_emitted(name, data, context=context, count=count)
            except AssertionError:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(_LOOK_SECONDS)


@contextmanager
def capture_browser() -> Iterator[BrowserEvents]:
    """Run a collector on a free port of this machine for the length of a with block; its events stay in memory.

    It needs the extra ``collector``, and neither Redis nor settings nor disk. What the app itself emits is not in it:
    use ``capture`` beside it. Blocks for some milliseconds at either end.

    Raises:
        ImportError: The extra is not installed.
    """
    try:
        import uvicorn  # noqa: PLC0415
    except ImportError as error:
        raise ImportError("capture_browser runs a collector: install event-dispatcher[collector]") from error
    from dispatcher.collector.app import App  # noqa: PLC0415
    from dispatcher.collector.commit import Committer  # noqa: PLC0415
    from dispatcher.config import Settings  # noqa: PLC0415

    settings = Settings(sources={"test": {"write_key": _KEY}}, relay={"mode": "external"})
    outbox = MemoryOutbox()
    committer = Committer(settings, outbox)
    committer.open()
    options: dict[str, Any] = {"log_config": None, "access_log": False, "lifespan": "off", "ws": "none"}
    app: Any = App(settings, committer)
    server = uvicorn.Server(uvicorn.Config(app, timeout_graceful_shutdown=_END_SECONDS, **options))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],), name="dispatcher-test-collector", daemon=True)
        thread.start()
        try:
            yield BrowserEvents(outbox, f"http://127.0.0.1:{listener.getsockname()[1]}")
        finally:
            server.should_exit = True
            thread.join()
            committer.close()
