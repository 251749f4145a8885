"""SpanQueue: spans wait here for a thread that sends them. Who adds one never waits, whatever the collector does."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

from dispatcher.monitoring.otel.client import OtlpClient, Sent
from dispatcher.monitoring.otel.otlp_json import encode_spans
from dispatcher.monitoring.otel.span import Span

logger = logging.getLogger(__name__)

# Requests with the same spans, before they are dropped.
_TRIES: Final = 5
# Seconds between two lines of the log about spans that were dropped.
_LOG_SECONDS: Final = 300.0


class SpanQueue:
    """Sends spans from a thread of its own, which starts at the first one; in a forked child again. Safe in threads.

    Args:
        client: Sends a request.
        resource: Who sends.
        seconds: Between two requests; a full batch goes at once.
        limit: Spans that wait at most. What comes beyond is dropped and counted.
        batch: Spans in one request at most.
    """

    def __init__(
        self, client: OtlpClient, resource: Mapping[str, Any], *, seconds: float, limit: int, batch: int
    ) -> None:
        self._client = client
        self._resource = resource
        self._seconds = seconds
        self._limit = limit
        self._batch = batch
        self._forget_process()

    def _forget_process(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._waiting: deque[Span] = deque()
        self._changed = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        #: Spans of this process that the collector will never have.
        self.dropped = 0
        self._logged, self._logged_at = 0, float("-inf")
        self._problem = ""

    def add(self, spans: Sequence[Span]) -> None:
        """Add spans; without room for all of them, the last ones are dropped. Does not block."""
        if self._pid != os.getpid():  # the thread and what waits are the parent's
            self._forget_process()
        with self._lock:
            if self._stopping:
                self.dropped += len(spans)
                return
            room = self._limit - len(self._waiting)
            self._waiting.extend(spans[: max(0, room)])
            self.dropped += max(0, len(spans) - room)
            is_full = len(self._waiting) >= self._batch
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="dispatcher-spans", daemon=True)
                self._thread.start()
        if is_full:
            self._changed.set()

    def stop(self, timeout: float) -> None:
        """Send what is left, once, for up to ``timeout`` seconds; the rest is dropped. May be called twice."""
        if self._pid != os.getpid() or self._thread is None:
            return
        with self._lock:
            self._stopping = True
        self._changed.set()
        self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            self._changed.wait(self._seconds)
            self._changed.clear()
            while batch := self._take():
                self._send(batch)
            self._log()
            if self._stopping:
                return

    def _take(self) -> list[Span]:
        with self._lock:
            return [self._waiting.popleft() for _ in range(min(self._batch, len(self._waiting)))]

    def _send(self, batch: Sequence[Span]) -> None:
        body = encode_spans(batch, self._resource)
        for _ in range(_TRIES):
            sent = self._client.send(body)
            if not sent.may_retry or self._stopping:
                break
            self._wait(max(self._seconds, sent.pause_seconds))
        self._count(sent, len(batch))

    def _wait(self, seconds: float) -> None:
        """Leave the collector alone, however many spans come meanwhile, unless this is to stop."""
        until = time.monotonic() + seconds
        while not self._stopping and (left := until - time.monotonic()) > 0:
            self._changed.wait(left)
            self._changed.clear()

    def _count(self, sent: Sent, spans: int) -> None:
        if sent.problem:
            self._problem = sent.problem
            with self._lock:
                self.dropped += sent.rejected or spans

    def _log(self) -> None:
        is_time = self._stopping or time.monotonic() - self._logged_at >= _LOG_SECONDS
        if self.dropped > self._logged and is_time:
            self._logged, self._logged_at = self.dropped, time.monotonic()
            why = self._problem or "more came than OTEL_BSP_MAX_QUEUE_SIZE lets wait"
            logger.warning("%d spans were dropped so far in this process: %s", self.dropped, why)
