"""The task that a site's own workers run for event-tracking's API."""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import Any

import pytest

from dispatcher.contrib.eventtracking import tracker
from dispatcher.contrib.eventtracking.backends.async_routing import AsyncRoutingBackend
from dispatcher.contrib.eventtracking.processors.whitelist import NameWhitelistProcessor
from dispatcher.contrib.eventtracking.tasks import MAX_RETRIES, send_event
from dispatcher.contrib.eventtracking.tracker import Tracker
from tests.support.processes import ROOT


class Memory:
    """A backend that raises the first times."""

    def __init__(self, failures: int = 0) -> None:
        self.events: list[Any] = []
        self.failures = failures

    def send(self, event: Any) -> None:
        self.events.append(event)
        if len(self.events) <= self.failures:
            raise OSError("away")


def register(monkeypatch: pytest.MonkeyPatch, backends: dict[str, Any], **options: Any) -> Tracker:
    made = Tracker({"all": AsyncRoutingBackend(backends=backends, backend_name="all", **options)})
    monkeypatch.setitem(tracker.TRACKERS, "default", made)
    return made


def test_a_backend_that_fails_gets_the_event_again_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad = Memory(), Memory(failures=2)
    register(monkeypatch, {"good": good, "bad": bad})
    result = send_event.apply(("all", {"name": "a"}))
    assert (len(good.events), len(bad.events), bad.events[-1]) == (1, 3, {"name": "a"})
    assert not isinstance(result.result, Exception)


def test_after_three_retries_the_task_fails_with_the_backends_error(monkeypatch: pytest.MonkeyPatch) -> None:
    dead = Memory(failures=99)
    register(monkeypatch, {"dead": dead})
    result = send_event.apply(("all", {"name": "a"}))
    assert isinstance(result.result, OSError)
    assert len(dead.events) == 1 + MAX_RETRIES


def test_a_router_that_the_settings_no_longer_have_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    register(monkeypatch, {})
    with pytest.raises(KeyError, match="segmentio"):
        send_event.apply(("segmentio", {"name": "a"}), throw=True)
    assert "EVENT_TRACKING_BACKENDS has no 'segmentio', for which an event waited" in caplog.text


def test_any_router_with_event_trackings_methods_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    class Router:
        def __init__(self) -> None:
            self.events: list[Any] = []
            self.send = self.send_to_backends = self.events.append

    made = Tracker({"own": Router()})
    monkeypatch.setitem(tracker.TRACKERS, "default", made)
    send_event.apply(("own", {"name": "a"}), throw=True)
    assert made.get_backend("own").events == [{"name": "a"}]


def test_a_message_bears_event_trackings_name_and_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(send_event, "apply_async", lambda args, kwargs, **options: sent.append(args))

    def rename(event: Any) -> None:
        event["name"] = "renamed"

    made = register(monkeypatch, {"memory": Memory()}, processors=[NameWhitelistProcessor(["a"]), rename])
    event = {"name": "a"}
    made.get_backend("all").send(event)
    made.get_backend("all").send({"name": "b"})
    assert sent == [("all", {"name": "renamed"})]
    assert (event, send_event.name) == ({"name": "a"}, "eventtracking.tasks.send_event")


REFUSED = """
import logging, sys
from celery import Celery
import kombu.utils.functional
logging.disable()
slept = []
kombu.utils.functional.sleep = slept.append
Celery("site", broker=f"redis://127.0.0.1:{sys.argv[1]}/0", set_as_current=True).set_default()
from dispatcher.contrib.eventtracking.tasks import send_event
for _ in range(3):
    try:
        send_event.delay("all", {"name": "a"})
    except Exception as error:
        print(type(error).__name__, sum(slept))
"""


def test_a_broker_that_refuses_connections_holds_nobody_up() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # nobody listens there, and nobody else gets it
        command = [sys.executable, "-c", REFUSED, str(bound.getsockname()[1])]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "OperationalError 0\n" * 3, done.stderr
