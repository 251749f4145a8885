"""A site of event-tracking moves over by its settings: its log stays the same to the byte, Segment gets the same."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from dispatcher.local.segment_stub import SegmentStub
from tests.support.processes import ROOT
from tests.support.site import Site
from tests.support.tracking_lines import read_lines

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
    found = [message for batch in read_lines(path) for message in batch.get("batch", [batch])]
    for message in found:
        for own in ("messageId", "timestamp", "sentAt", "receivedAt", "integrations", "_metadata"):
            message.pop(own, None)
        message["context"].pop("library")
        assert message.pop("anonymousId", None) is None  # the library writes null
        message["properties"].pop("timestamp")
    return sorted(found, key=lambda message: message["properties"]["data"]["n"])


def test_the_log_and_segment_have_the_same_before_and_after(site: Site, tmp_path: Path) -> None:
    before_log = tmp_path / "before.log"
    with SegmentStub(file=tmp_path / "before.jsonl") as stub:
        emit(site, "before", stub.url, before_log)
    environ = {"PYTHONPATH": str(ROOT), "DJANGO_SETTINGS_MODULE": "", "EDX_LOG": str(tmp_path / "nothing.log")}
    command = ("settings", "from-django", "tests.support.openedx_site.before", "--output", str(site.settings_file))
    assert "ToLogLine" in site.processes.dispatcher(*command, **environ).succeed()
    # The one difference that docs/how-to/open-edx.md lists: lines have the id of their event.
    text = site.settings_file.read_text().replace('format = "edx"', 'format = "edx"\nids = false')
    site.settings_file.write_text(text)
    emit(site, "after", site.segment_stub.url, tmp_path / "nothing.log")
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
