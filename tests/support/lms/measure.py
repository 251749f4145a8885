"""Measures events a second to a local LRS: ours beside event-routing-backends' own way, a request an event.

Run it after `make lrs` as ``PYTHONPATH=.venvs/event-routing-backends python -m tests.support.lms.measure``. Their
queues and Celery tasks, two for an event, are left out.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from dispatcher.event import Event
from dispatcher.tasks.destinations.event_routing_backends import EventRoutingBackends
from dispatcher.tasks.testing import batch_of

EVENTS: Final = 2000
ROUNDS: Final = 3


class _Handler(BaseHTTPRequestHandler):
    """Takes everything."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"[]")

    do_PUT = do_POST

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def an_event(number: int) -> Event:
    """An enrolment."""
    return Event(
        id=f"event-{number}",
        name="edx.course.enrollment.activated",
        timestamp=datetime(2026, 1, 2, tzinfo=UTC) + timedelta(milliseconds=number),
        data={"mode": "audit"},
        context={"user_id": 1 + number % 3, "course_id": "course-v1:Org+C1+R1", "session": "a1"},
    )


def main() -> None:
    """Print a line for each way and round."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    sink = multiprocessing.get_context("fork").Process(target=server.serve_forever, daemon=True)
    sink.start()
    url = f"http://127.0.0.1:{server.server_address[1]}/xAPI"
    with tempfile.TemporaryDirectory() as directory:
        os.environ["SITE_DATABASE"] = f"{directory}/site.sqlite3"
        ways = _ways(url, [an_event(number) for number in range(EVENTS)])
        for _ in range(ROUNDS):
            for name, way in ways.items():
                began, cpu = time.perf_counter(), time.process_time()
                way()
                seconds, cpu_us = time.perf_counter() - began, (time.process_time() - cpu) / EVENTS * 1e6
                print(f"{name:<12} {EVENTS / seconds:8,.0f} events/s {cpu_us:8,.0f} µs of CPU an event")
    sink.terminate()


def _ways(url: str, events: list[Event]) -> dict[str, Callable[[], None]]:
    options = {"url": url, "django_settings": "tests.support.lms.settings", "username": "lrs", "password": "of-a-test"}
    destination = EventRoutingBackends("lrs", EventRoutingBackends.Options.model_validate(options))
    assert destination.missing_settings() is None
    from tests.support.lms.deliver import make_users

    make_users()
    from event_routing_backends.processors.xapi.transformer_processor import XApiProcessor
    from event_routing_backends.utils.xapi_lrs_client import LrsClient

    transform = XApiProcessor()
    queued: list[dict[str, Any]] = [
        {"name": each.name, "timestamp": each.timestamp.isoformat(), "data": each.data, "context": each.context}
        for each in events
    ]

    def ours() -> None:
        for first in range(0, len(events), 100):
            destination.deliver(batch_of(events[first : first + 100]))

    def theirs() -> None:
        for event in queued:
            for statement in transform([event]):
                client = LrsClient(url, "1.0.3", "Basic", None, "lrs", "of-a-test")
                client.send(statement, event["name"])

    def transformers() -> None:
        for event in queued:
            transform([event])

    return {"ours": ours, "theirs": theirs, "transformers": transformers}


if __name__ == "__main__":
    main()
