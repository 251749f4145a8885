"""Outbox, relay, worker, supervisor and demo without what only Linux has: in processes that believe in macOS.

None of them may need /proc, prctl, posix_fallocate and the like (tests/support/other_system).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.deliveries import each_once, take_everything
from tests.support.processes import ROOT, assert_none_left, child_pids
from tests.support.site import Site
from tests.support.waiting import wait_for

OTHER_SYSTEM = str(ROOT / "tests" / "support" / "other_system")


@pytest.fixture(autouse=True)
def _other_system(request: pytest.FixtureRequest) -> None:
    if "site" in request.fixturenames:
        request.getfixturevalue("site").environ["PYTHONPATH"] = OTHER_SYSTEM


@pytest.mark.usefixtures("nothing_kept")
def test_events_survive_the_death_of_their_process(site: Site) -> None:
    site.worker()
    child = site.emitting(
        """
assert sys.platform == "darwin" and not os.path.exists("/proc")
for n in range(2000): tracker.emit("shop.basket.seen", {"n": n, "text": "x" * 200})
os.kill(os.getpid(), 9)
""",
        DISPATCHER_OUTBOX__SYNC_SECONDS="0.001",
        DISPATCHER_OUTBOX__MAX_EVENT_BYTES="16384",
        DISPATCHER_OUTBOX__JOURNAL_BYTES="65536",
    )
    assert child.wait() == -signal.SIGKILL, child.output
    relay = site.processes.dispatcher("relay", "--once")
    relay.succeed()
    site.wait_for_lines(2000)
    site.wait_until_delivered()
    site.assert_ledger_closes()
    assert site.outboxes() == []


@pytest.mark.usefixtures("nothing_kept")
def test_forked_children_emit_each_event_once(site: Site) -> None:
    child = site.emitting(
        """
tracker.emit("shop.basket.seen", {"n": 0})
pids = []
for first in (1, 301, 601):
    pid = os.fork()
    if pid == 0:
        for n in range(first, first + 300): tracker.emit("shop.basket.seen", {"n": n})
        os._exit(0 if dispatcher.flush(60) else 1)
    pids.append(pid)
assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0, 0]
"""
    )
    child.succeed()
    assert take_everything(site) == each_once(901)
    assert site.outboxes() == []


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_a_killed_supervisor_leaves_no_worker(site: Site, pool: str) -> None:
    worker = site.worker("-P", pool)
    assert len(child_pids(worker.pid)) >= 2  # the worker, and what watches over it
    worker.kill()
    assert_none_left(str(site.directory / "state"))


def test_a_worker_that_stops_in_order_leaves_nothing(site: Site) -> None:
    worker = site.worker()
    assert worker.stop() == 0
    assert_none_left(str(site.directory / "state"))


def test_a_worker_that_dies_is_started_again(site: Site) -> None:
    worker = site.worker()
    before = child_pids(worker.pid)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    worker.wait_for_output("worker ended with signal SIGKILL")
    wait_for(lambda: worker.output.count(" ready.") == 2, what=lambda: worker.output)
    site.leave_behind(3)
    site.relay_once()
    site.wait_for_lines(3)
    assert worker.stop() == 0
    assert_none_left(str(site.directory / "state"))


def test_the_demo_delivers_each_event_once_and_refuses_a_directory_in_use(tmp_path: Path) -> None:
    directory = tmp_path / "demo"
    command = [sys.executable, "-m", "dispatcher.local.demo", "--directory", str(directory)]
    environ = {**os.environ, "PYTHONPATH": OTHER_SYSTEM}
    held = subprocess.Popen(["sleep", "100"], env={**os.environ, "DISPATCHER_STATE_DIRECTORY": str(directory)})
    directory.mkdir()
    try:
        refused = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
        assert f"already, as process {held.pid}" in " ".join(refused.stdout.split())
    finally:
        held.kill()
        held.wait()
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the ledger closes" in done.stdout
    assert_none_left(str(directory))
