"""What we take for granted about billiard, which Celery brings in a version of its own choice."""

from __future__ import annotations

import subprocess
import sys

import billiard.pool
import pytest

import dispatcher.tasks.celery  # noqa: F401 - it sets the limit
from dispatcher.monitoring.sentry import errors

# A pool of one process, which is killed. In a program of its own, since it forks.
_KILLED_CHILD = """
import logging, os, signal
from billiard.pool import Pool
from dispatcher.monitoring.sentry.errors import LOGGERS

class Printer(logging.Handler):
    def emit(self, record):
        if record.levelno >= logging.ERROR:
            print(record.name in LOGGERS, record.msg, flush=True)

logging.getLogger("multiprocessing").addHandler(Printer())
pool = Pool(1, threads=False)
[child] = pool._pool
os.kill(child.pid, signal.SIGKILL)
child.join()
pool.maintain_pool()
[child] = pool._pool
os.kill(child.pid, signal.SIGKILL)
os._exit(0)
"""


def test_billiard_logs_the_death_of_a_child_in_the_words_that_sentry_matches() -> None:
    done = subprocess.run([sys.executable, "-c", _KILLED_CHILD], capture_output=True, text=True, check=False)

    assert done.stdout.splitlines() == [f"True {errors._CHILD_ENDED}"], done.stderr


def test_an_ending_child_waits_two_seconds_for_its_results_to_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(billiard.pool.time, "sleep", pauses.append)
    child = object.__new__(billiard.pool.Worker)
    child.on_ready_counter = billiard.Value("i")

    assert child._ensure_messages_consumed(completed=1) is False
    assert sum(pauses) == pytest.approx(2.0)
