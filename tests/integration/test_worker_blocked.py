"""Workers whose interpreter is blocked, so that no thread inside can react."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import dispatcher
from dispatcher import tracker
from dispatcher.local.supervisor import Child, Supervisor
from dispatcher.process.heartbeat import Page
from tests.support.site import Site
from tests.support.tracking_lines import assert_each_once
from tests.support.waiting import wait_for

BLOCKING = """
[destinations.blocking]
type = "tests.support.blocking:Blocking"
events = ["shop.*"]
lease_seconds = 2
directory = "{directory}"
"""


@pytest.fixture
def blocking_site(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A site with a destination that can block its worker. This process emits into it."""
    site.allow(["shop.order.*"], more=BLOCKING.format(directory=site.directory))
    site.environ["DISPATCHER_WORKER__SILENT_SECONDS"] = "3"
    for name, value in site.environ.items():
        if name.startswith("DISPATCHER_"):
            monkeypatch.setenv(name, value)
    return site


def emit(number: int, *, block: bool = False) -> None:
    tracker.emit("shop.order.paid", {"n": number, "block": block})
    wait_for(lambda: dispatcher.flush(1), what="the event to be in the store")


def delivered(site: Site) -> list[int]:
    file = site.directory / "delivered"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


@pytest.mark.parametrize("pool", ["threads", "gevent", "solo"])
def test_a_worker_with_a_blocked_interpreter_is_killed_and_restarted(blocking_site: Site, pool: str) -> None:
    worker = blocking_site.worker("-P", pool, "-c", "2")
    emit(0)
    # Settled too, or it would come again, as it should.
    blocking_site.wait_until_delivered()
    emit(1, block=True)
    wait_for((blocking_site.directory / "blocked").exists)
    emit(2)
    worker.wait_for_output("ended with signal SIGKILL; starting again")
    assert "has given no sign of life for" in worker.output
    # With the place in the code.
    assert "blocking.py" in worker.output
    # The batch comes again, and all others are delivered.
    wait_for(lambda: sorted(delivered(blocking_site)) == [0, 1, 2], what=lambda: worker.output[-3000:])
    blocking_site.wait_until_delivered()
    assert_each_once(blocking_site.log, 3)
    blocking_site.assert_ledger_closes()
    assert worker.stop() == 0


def test_a_pool_child_with_a_blocked_interpreter_is_killed_by_its_parent(blocking_site: Site) -> None:
    worker = blocking_site.worker("-P", "prefork", "-c", "1")
    emit(0, block=True)
    wait_for((blocking_site.directory / "blocked").exists)
    emit(1)
    wait_for(lambda: sorted(delivered(blocking_site)) == [0, 1], what=lambda: worker.output[-3000:])
    blocking_site.wait_until_delivered()
    assert "Hard time limit (4" in worker.output
    assert worker.output.count(" ready.") == 1
    assert_each_once(blocking_site.log, 2)
    blocking_site.assert_ledger_closes()
    assert worker.stop() == 0


def test_a_worker_of_dispatcher_up_is_supervised_too(tmp_path: Path) -> None:
    output: list[str] = []
    code = (
        "import ctypes, faulthandler, signal, time; from dispatcher.process import heartbeat; "
        "faulthandler.register(signal.SIGUSR2); assert heartbeat.start(); time.sleep(0.5); print('up', flush=True); "
        "ctypes.PyDLL(None).sleep(600)"
    )
    supervisor = Supervisor(lambda name, line: output.append(f"{name} {line}"))
    supervisor.start(Child("worker", [sys.executable, "-c", code], silent_seconds=1.5))

    def is_printed(text: str) -> bool:
        supervisor.restart_ended()
        return any(text in line for line in output)

    try:
        wait_for(lambda: is_printed("starting again"), every=0.1, what=lambda: output)
        # Supervised again from its first heartbeat on.
        wait_for(
            lambda: is_printed("starting again") and output.count("worker up") == 2, every=0.1, what=lambda: output
        )
    finally:
        supervisor.stop()
    assert any("<string>" in line for line in output)


def test_a_process_without_a_first_heartbeat_counts_as_alive() -> None:
    page = Page()
    time.sleep(0.1)
    assert page.silent_seconds() == 0.0


def test_time_in_which_the_supervisor_was_stopped_does_not_count(tmp_path: Path) -> None:
    code = """
import os, sys, time
from dispatcher.process.heartbeat import Page
page = Page()
os.pwrite(page.descriptor, b"12345678", 0)
page.silent_seconds()
before = time.monotonic()
print("looking", flush=True)
for _ in range(20):
    time.sleep(0.1)
    silent = page.silent_seconds()
print(silent, time.monotonic() - before, flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "looking\n"
        child.send_signal(signal.SIGSTOP)
        time.sleep(3)  # the length of the stop
        child.send_signal(signal.SIGCONT)
        silent, passed = map(float, child.stdout.readline().split())
    assert passed > 4.5
    # Of the three seconds, the one look behind them counts one.
    assert passed - silent > 1.5


def test_an_unsupervised_process_sends_no_heartbeat() -> None:
    code = "from dispatcher.process import heartbeat; assert not heartbeat.start()"
    environ = {key: value for key, value in os.environ.items() if key != "_DISPATCHER_BEAT"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environ)
