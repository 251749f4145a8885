"""A site of event-tracking moves over by its settings: its log stays the same to the byte, Segment gets the same."""

from __future__ import annotations

import json
import os
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from dispatcher.local.segment_stub import SegmentStub
from tests.support.json_lines import read_whole_lines
from tests.support.processes import ROOT
from tests.support.site import Site
from tests.support.tracking_lines import count_lines
from tests.support.waiting import wait_for

pytest.importorskip("eventtracking")
EVENTS = 200
_TIME = re.compile(rb'"time": "[^"]+"')


def emit(site: Site, settings: str, host: str, log: Path) -> None:
    site.processes.start(
        *(sys.executable, "-m", "tests.support.openedx_site.emit", str(EVENTS), host),
        PYTHONPATH=str(ROOT),
        DJANGO_SETTINGS_MODULE=f"tests.support.openedx_site.{settings}",
        EDX_LOG=str(log),
    ).succeed(60)


def messages(path: Path) -> list[dict[str, Any]]:
    """What Segment got, without what each library says of itself, and by the number of the event."""
    found = [message for batch in read_whole_lines(path) for message in batch.get("batch", [batch])]
    for message in found:
        for own in ("messageId", "timestamp", "sentAt", "receivedAt", "integrations", "_metadata"):
            message.pop(own, None)
        message["context"].pop("library")
        assert message.pop("anonymousId", None) is None  # the library writes null
        message["properties"].pop("timestamp")
    return sorted(found, key=lambda message: message["properties"]["data"]["n"])


@pytest.mark.parametrize("settings", ["after", "dropin"])
def test_the_log_and_segment_have_the_same_before_and_after(site: Site, tmp_path: Path, settings: str) -> None:
    before_log = tmp_path / "before.log"
    with SegmentStub(file=tmp_path / "before.jsonl") as stub:
        emit(site, "before", stub.url, before_log)
    environ = {"PYTHONPATH": str(ROOT), "DJANGO_SETTINGS_MODULE": "", "EDX_LOG": str(tmp_path / "nothing.log")}
    command = ("settings", "from-django", "tests.support.openedx_site.before", "--output", str(site.settings_file))
    assert "ToLogLine" in site.processes.dispatcher(*command, **environ).succeed()
    # The one difference that docs/how-to/open-edx.md lists: lines have the id of their event.
    text = site.settings_file.read_text().replace('format = "edx"', 'format = "edx"\nids = false')
    site.settings_file.write_text(text)
    emit(site, settings, site.segment_stub.url, tmp_path / "nothing.log")
    site.worker()
    site.wait_for_lines(EVENTS + 1)
    site.wait_until_delivered()

    before, after = before_log.read_bytes().splitlines(), site.log.read_bytes().splitlines()
    assert len(before) == len(after) == EVENTS + 1
    mobile = b'"event_source": "mobile"'
    for old, new in zip(before, after, strict=True):
        # An event of an app has the time that the app said.
        assert old == new if mobile in old else _TIME.sub(b"", old) == _TIME.sub(b"", new)
    assert (tmp_path / "nothing.log").read_bytes() == b""
    old, new = messages(tmp_path / "before.jsonl"), messages(site.directory / "segment.jsonl")
    assert len(old) == EVENTS // 2
    assert json.dumps(old, sort_keys=True, indent=1) == json.dumps(new, sort_keys=True, indent=1)


def test_the_drop_in_runs_a_tree_of_backends_as_event_tracking_does(site: Site, tmp_path: Path) -> None:
    lines, sent = [], []
    for settings in ("before", "dropin_tree"):
        log, file = tmp_path / f"{settings}.log", tmp_path / f"{settings}.jsonl"
        with SegmentStub(file=file) as stub:
            emit(site, settings, stub.url, log)
        lines.append([_TIME.sub(b"", line) for line in log.read_bytes().splitlines()])
        sent.append(messages(file) if file.exists() else [])
    assert lines[0] == lines[1]
    assert len(lines[0]) == EVENTS + 1
    # The drop-in's own go by way of the outbox: analytics-python has none of them.
    assert (len(sent[0]), sent[1]) == (EVENTS // 2, [])
    site.worker()
    wait_for(lambda: len(messages(site.directory / "segment.jsonl")) == EVENTS // 2)
    assert json.dumps(sent[0], sort_keys=True) == json.dumps(messages(site.directory / "segment.jsonl"), sort_keys=True)


WORKER_SETTINGS = """
from dispatcher.contrib.eventtracking import install
install()
from tests.support.openedx_site.before import *
ROUTER = EVENT_TRACKING_BACKENDS["tracking_logs"]
ROUTER["ENGINE"] = "eventtracking.backends.async_routing.AsyncRoutingBackend"
ROUTER["OPTIONS"] |= {"backend_name": "tracking_logs", "processors": []}
LOGGING["disable_existing_loggers"] = False
"""


def test_a_task_that_event_tracking_put_is_done_by_a_worker_of_the_drop_in(site: Site, tmp_path: Path) -> None:
    app = Celery("site", broker=site.redis.url, set_as_current=False)
    event = {"name": "in.flight", "timestamp": datetime(2026, 1, 2, tzinfo=UTC), "data": {"n": 1}, "context": {}}
    for name in ("tracking_logs", "gone"):
        app.send_task("eventtracking.tasks.send_event", (name, event))
    (tmp_path / "moved.py").write_text(WORKER_SETTINGS)
    (tmp_path / "worker.py").write_text(
        "from celery import Celery\nimport django\ndjango.setup()\napp = Celery(broker={site.redis.url!r})\n".replace(
            "{site.redis.url!r}", repr(site.redis.url)
        )
    )
    log = tmp_path / "tracking.log"
    worker = site.processes.start(
        *(sys.executable, "-m", "celery", "-A", "worker", "worker", "--pool", "solo", "--loglevel", "WARNING"),
        *("--without-mingle", "--without-gossip"),
        PYTHONPATH=os.pathsep.join((str(tmp_path), str(ROOT))),
        DJANGO_SETTINGS_MODULE="moved",
        EDX_LOG=str(log),
    )
    wait_for(lambda: count_lines(log) == 1)
    worker.wait_for_output("EVENT_TRACKING_BACKENDS has no 'gone', for which an event waited")
    worker.stop()
    assert json.loads(log.read_text()) == {**event, "timestamp": "2026-01-02T00:00:00+00:00"}
