"""RelayLoop: what it says of a Redis that does not answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import dispatcher
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path


def test_the_log_of_an_app_says_what_to_do_about_redis(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DISPATCHER_STATE_DIRECTORY", str(tmp_path))
    tracker = dispatcher.Tracker()
    try:
        tracker.emit("shop.order.paid")
        wait_for(lambda: "stay in the outbox until this is mended" in caplog.text)
    finally:
        tracker.close()
    assert "Start one with `dispatcher up`, or set DISPATCHER_BROKER_URL" in caplog.text
