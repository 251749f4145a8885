"""The producer of doorbells: what it needs, and what becomes of emit where that is missing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from dispatcher import config
from dispatcher.cli import main
from dispatcher.tracker import Tracker

SQS = "sqs://key:secret@"


@pytest.fixture(autouse=True)
def _without_boto3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)


def test_without_the_packages_of_sqs_emit_works_and_says_once_what_to_install(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    urls = {"broker_url": SQS, "store_url": "redis://127.0.0.1:1/0"}
    outbox = {"exit_flush_seconds": 0.01}
    settings = config.load(overrides={**urls, "state_directory": str(tmp_path), "strict": True, "outbox": outbox})
    tracker = Tracker(settings)
    tracker.emit("shop.order.paid", {"n": 1})
    tracker.emit("shop.order.paid", {"n": 2})
    tracker.close()
    (said,) = [one.getMessage() for one in caplog.records if "doorbell" in one.getMessage()]
    assert "pip install 'celery[sqs]'" in said
    assert "boto3" in said
    assert "secret" not in said


def test_a_worker_without_the_packages_of_sqs_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPATCHER_BROKER_URL", SQS)
    monkeypatch.setenv("DISPATCHER_STORE_URL", "redis://127.0.0.1:1/0")
    result = CliRunner().invoke(main, ["worker"])
    assert result.exit_code != 0
    assert "pip install 'celery[sqs]'" in result.output
    assert "secret" not in result.output
