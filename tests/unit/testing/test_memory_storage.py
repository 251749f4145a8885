"""``outbox.storage = "memory"``: a whole suite of an app's tests emits, and nothing leaves any of its processes."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dispatcher import config
from dispatcher.cli.main import EXIT_SETTINGS
from dispatcher.outbox import MemoryOutbox
from dispatcher.tracker import Tracker

# An app whose view emits in its own thread, in a thread that it starts, and in a child that it forks.
APP = """
import os, threading
from dispatcher import flush, segment, tracker

def pay(order):
    tracker.emit("shop.order.paid", {"order": order})
    segment.track(order, "Order Paid")
    thread = threading.Thread(target=tracker.emit, args=("shop.order.paid",))
    thread.start()
    thread.join()
    pid = os.fork()
    if pid == 0:
        tracker.emit("shop.order.paid", {"order": order})
        os._exit(0 if flush(0) else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert flush(0)
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("dispatcher")] == []
"""

CASES = """
import unittest
from dispatcher.testing import capture
from shop import pay

class Orders(unittest.TestCase):
    def test_without_a_capture(self):
        pay(1)

    def test_with_a_capture_around_each_test(self):
        captured = self.enterContext(capture())
        pay(2)
        assert captured.one("shop.order.paid", order=2).type == "event"
        assert len(captured.events) == 3

    def test_after_a_capture(self):
        pay(3)
"""

RUNNERS = {
    "pytest": ("-m", "pytest", "-q", "-p", "no:cacheprovider"),
    "unittest": ("-m", "unittest"),
    "django": ("-m", "django", "test", "--settings=site_settings"),
    "django-parallel": ("-m", "django", "test", "--settings=site_settings", "--parallel=2"),
}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory with an app and its tests, and a home beside it."""
    directory = tmp_path / "site"
    directory.mkdir()
    (tmp_path / "home").mkdir()
    (directory / "shop.py").write_text(APP)
    (directory / "test_orders.py").write_text(CASES)
    (directory / "test_more_orders.py").write_text(CASES)
    (directory / "site_settings.py").write_text("SECRET_KEY = 'x'\nDATABASES = {}\n")
    return directory


def run(site: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-B", *arguments],
        cwd=site,
        env={"PATH": os.environ["PATH"], "HOME": str(site.parent / "home"), **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_whole_suite_writes_and_connects_nowhere(site: Path, runner: str) -> None:
    arguments = RUNNERS[runner]
    # A broker at which a relay would fail: it would log that.
    done = run(site, *arguments, DISPATCHER_OUTBOX__STORAGE="memory", DISPATCHER_BROKER_URL="redis://127.0.0.1:1/0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 passed" in done.stdout or "Ran 6 tests" in done.stderr
    assert "stay in the outbox" not in done.stdout + done.stderr
    assert list((site.parent / "home").rglob("*")) == []


def test_a_suite_says_it_in_its_settings_or_in_conftest_too(site: Path) -> None:
    (site / "conftest.py").write_text("import os\nos.environ['DISPATCHER_OUTBOX__STORAGE'] = 'memory'\n")
    assert run(site, *RUNNERS["pytest"]).returncode == 0
    (site / "conftest.py").unlink()
    (site / "test.toml").write_text('[outbox]\nstorage = "memory"\n')
    assert run(site, *RUNNERS["pytest"], DISPATCHER_SETTINGS=str(site / "test.toml")).returncode == 0
    assert list((site.parent / "home").rglob("*")) == []
    # Without it the same suite does write: else the tests above would hold nothing.
    run(site, *RUNNERS["unittest"])
    assert list((site.parent / "home").rglob("outbox")) != []


def test_no_more_than_the_newest_events_are_kept() -> None:
    settings = config.load({}, {"outbox": {"storage": "memory"}})
    tracker = Tracker(settings)
    for n in range(10_100):
        tracker.emit("shop.order.paid", {"n": n})
    outbox = tracker._outbox
    assert isinstance(outbox, MemoryOutbox)
    assert len(outbox.payloads) == 10_000
    assert b'"n":10099' in outbox.payloads[-1]
    tracker.close()


def test_processors_and_strict_hold_as_with_a_disk(caplog: pytest.LogCaptureFixture) -> None:
    settings = config.load({}, {"outbox": {"storage": "memory"}, "environment": "production", "strict": True})
    seen = []
    tracker = Tracker(settings, processors=[lambda event: seen.append(event.name) or event])
    with caplog.at_level(logging.WARNING):
        tracker.emit("shop.order.paid")
        with pytest.raises(ValueError, match=r"shop\.order\.paid"):
            tracker.emit("shop.order.paid", {"order": object()})
    assert seen == ["shop.order.paid"]
    # Not in development, where suites run: a deployment that was set up so by mistake shows it.
    assert "events of this process are not delivered" in caplog.text
    tracker.close()


def test_the_command_line_emits_nothing_into_memory(site: Path) -> None:
    arguments = ("-m", "dispatcher", "emit", "shop.order.paid")
    done = run(site, *arguments, DISPATCHER_OUTBOX__STORAGE="memory")
    assert done.returncode == EXIT_SETTINGS
    assert "the event would be lost. Unset DISPATCHER_OUTBOX__STORAGE" in done.stderr
    assert done.stdout == ""


def test_doctor_reports_an_outbox_in_memory(site: Path) -> None:
    arguments = ("-m", "dispatcher", "doctor", "--quick")
    found = {}
    for storage in ("memory", "disk"):
        done = run(site, *arguments, DISPATCHER_OUTBOX__STORAGE=storage, COLUMNS="300")
        found[storage] = [line for line in done.stdout.splitlines() if "outbox.storage " in line]
    assert "✗" in found["memory"][0]
    assert "nothing that is emitted with these settings is delivered" in found["memory"][0]
    assert "✓" in found["disk"][0]
