"""A whole site for one test: Redis, the Segment stub, settings with short waits, and processes that use them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from dispatcher import config
from dispatcher.connections.redis_pool import RedisPool
from dispatcher.local.segment_stub import SegmentStub
from dispatcher.monitoring.ledger import Ledger, take_ledger
from dispatcher.outbox import find_outboxes
from dispatcher.relay.relay import Relay
from dispatcher.store.batches import BatchStore
from dispatcher.store.counts import Counts
from tests.support.processes import Child, Processes, assert_none_left
from tests.support.redis_server import RedisServer
from tests.support.tracking_lines import count_lines
from tests.support.waiting import wait_for

ALLOWLIST = ["shop.order.*", "edx.bi.*"]


# In one write, since unbuffered print makes several, between which a relay may log.
_REPORT: Final = """
def report(*words):
    os.write(1, f"report: {' '.join(map(str, words))}\\n".encode())

"""


class Site:
    """A site for one test alone.

    Args:
        directory: For state, settings and output.
        redis: A started Redis.
        segment_stub: A started Segment stub.
        store_url: Of the batch store; None: that Redis.
    """

    def __init__(
        self, directory: Path, redis: RedisServer, segment_stub: SegmentStub, store_url: str | None = None
    ) -> None:
        self.directory = directory
        self.redis = redis
        self.segment_stub = segment_stub
        self.log = directory / "tracking.log"
        self.settings_file = directory / "site.toml"
        self.allow(ALLOWLIST)
        self.environ = {
            **{key: value for key, value in os.environ.items() if not key.startswith("DISPATCHER_")},
            "PYTHONUNBUFFERED": "1",
            "DISPATCHER_STATE_DIRECTORY": str(directory / "state"),
            "DISPATCHER_SETTINGS": str(self.settings_file),
            "DISPATCHER_BROKER_URL": redis.url,
            **({} if store_url is None else {"DISPATCHER_STORE_URL": store_url}),
            "DISPATCHER_STRICT": "true",
            # A busy machine may be slow.
            "DISPATCHER_OUTBOX__EXIT_FLUSH_SECONDS": "60",
            "DISPATCHER_RELAY__LINGER_SECONDS": "0.01",
            "DISPATCHER_RELAY__ADOPT_SECONDS": "0.2",
            "DISPATCHER_RELAY__RELOAD_SECONDS": "0.1",
            "DISPATCHER_RELAY__BACKOFF_MAX_SECONDS": "0.2",
            "DISPATCHER_WORKER__BELL_SECONDS": "0.1",
            "DISPATCHER_DESTINATIONS__TRACKING_LOG__PATH": str(self.log),
            "DISPATCHER_DESTINATIONS__TRACKING_LOG__LEASE_SECONDS": "2",
            "DISPATCHER_DESTINATIONS__TRACKING_LOG__RETRY__FIRST_SECONDS": "0.2",
            "DISPATCHER_DESTINATIONS__TRACKING_LOG__BREAKER__FIRST_SECONDS": "0.2",
            "DISPATCHER_DESTINATIONS__TRACKING_LOG__BREAKER__MAX_SECONDS": "0.5",
            "DISPATCHER_DESTINATIONS__SEGMENT__HOST": segment_stub.url,
            "DISPATCHER_DESTINATIONS__SEGMENT__WRITE_KEY": "a-key",
            "DISPATCHER_DESTINATIONS__SEGMENT__LEASE_SECONDS": "2",
            # A request has to end within its lease.
            "DISPATCHER_DESTINATIONS__SEGMENT__CONNECT_TIMEOUT_SECONDS": "0.4",
            "DISPATCHER_DESTINATIONS__SEGMENT__TIMEOUT_SECONDS": "1.4",
            "DISPATCHER_DESTINATIONS__SEGMENT__RETRY__FIRST_SECONDS": "0.2",
            "DISPATCHER_DESTINATIONS__SEGMENT__BREAKER__FIRST_SECONDS": "0.2",
            "DISPATCHER_DESTINATIONS__SEGMENT__BREAKER__MAX_SECONDS": "0.5",
        }
        self.processes = Processes(directory / "output", self.environ)
        self._pool = RedisPool(store_url or redis.url, timeout_seconds=30)
        self.store = BatchStore(self._pool)

    def allow(self, events: list[str], *, more: str = "") -> None:
        """Write the site's settings file, with Segment's allowlist."""
        self.settings_file.write_text(f"[destinations.segment]\nevents = {events!r}\n{more}")

    def settings(self) -> config.Settings:
        """The settings as a process of this site would load them."""
        return config.load(self.environ)

    def worker(self, *arguments: str, **environ: str) -> Child:
        """Start a worker, and wait until it is ready."""
        child = self.processes.dispatcher("worker", *arguments, **environ)
        child.wait_for_output(" ready.")
        return child

    def emitting(self, code: str, *arguments: str, **environ: str) -> Child:
        """Start a process that emits. ``code`` has tracker, segment, dispatcher, os, sys and time imported.

        ``Child.report`` returns what the code passes to ``report``.
        """
        head = "import os, sys, time\nimport dispatcher\nfrom dispatcher import tracker, segment\n"
        return self.processes.python(head + _REPORT + code, *arguments, **environ)

    def leave_behind(self, count: int) -> None:
        """Leave ``count`` events, numbered from 0, in the outbox of a killed process without a relay."""
        code = "for n in range(int(sys.argv[1])): tracker.emit('shop.order.paid', {'n': n})\nos.kill(os.getpid(), 9)"
        child = self.emitting(code, str(count), DISPATCHER_RELAY__MODE="external")
        assert child.wait() == -signal.SIGKILL, child.output

    def outboxes(self) -> list[Path]:
        """The directories of all outboxes, by name."""
        return find_outboxes(self.settings().outbox_directory)

    def relay_once(self) -> None:
        """Put everything in outboxes of dead processes into the store, with a relay in this process."""
        relay = Relay(self.settings())
        try:
            wait_for(lambda: relay.step() == 0 and relay.is_drained(), what="the outboxes to be empty")
            relay.step()
        finally:
            relay.close()

    def ledger(self) -> Ledger:
        return take_ledger(self.settings(), self.store)

    def counts(self, destination: str) -> Counts:
        return self.store.counts([destination])[destination]

    def wait_for_lines(self, count: int, timeout: float = 20.0) -> None:
        """Wait until the tracking log has at least ``count`` lines."""
        wait_for(
            lambda: count_lines(self.log) >= count,
            timeout,
            what=lambda: f"{count} lines; there are {count_lines(self.log)}, and {self.ledger()}",
        )

    def wait_until_delivered(self, timeout: float = 20.0) -> None:
        """Wait until nothing waits anywhere, twice in a row: an event between two places is missed at most once."""
        wait_for(
            lambda: self.ledger().waiting == 0 and self.ledger().waiting == 0,
            timeout,
            every=0.05,
            what=lambda: f"nothing to wait any more, but {self.ledger()}",
        )

    def assert_ledger_closes(self) -> None:
        """Check that accepted = delivered + waiting + dead + filtered for every destination."""
        for name, counts in self.ledger().destinations.items():
            assert counts.closes, f"the ledger of {name} does not close: {counts}"

    def close(self) -> None:
        """End everything except Redis and the Segment stub. Fails if a process is left over."""
        self.processes.close()
        self._pool.close()
        assert_none_left(self.environ["DISPATCHER_STATE_DIRECTORY"])


@contextmanager
def open_site(directory: Path, redis: RedisServer, *, store_url: str | None = None) -> Iterator[Site]:
    """A site with its own Segment stub, which writes segment.jsonl. Both have ended afterwards.

    Args:
        directory: For all files of the site.
        redis: A started Redis, which the caller ends.
        store_url: Of the batch store; None: that Redis.
    """
    with SegmentStub(file=directory / "segment.jsonl") as segment_stub:
        site = Site(directory, redis, segment_stub, store_url)
        try:
            yield site
        finally:
            site.close()
