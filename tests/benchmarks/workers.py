"""Workers: the Celery worker processes of a measurement."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Final, Self

#: The command lines of the kinds of workers, without their names.
COMMANDS: Final = {
    # As operators start it.
    "ours": ("dispatcher", "worker", "--loglevel", "WARNING"),
    # Celery's own defaults: the prefork pool, a process for each core.
    "prefork": ("celery", "-A", "tests.benchmarks.plain_celery", "worker", "--loglevel", "WARNING"),
    # A task for each event that posts it, in threads, as for anything that waits for a vendor.
    "threads": (
        "celery",
        "-A",
        "tests.benchmarks.plain_celery",
        "worker",
        "--loglevel",
        "WARNING",
        "--pool",
        "threads",
    ),
    # event-tracking's own task.
    "event_tracking": (
        *("celery", "-A", "tests.benchmarks.event_tracking_celery", "worker", "--loglevel", "ERROR"),
        *("--pool", "threads"),
    ),
    # Without the pool's pipes between processes.
    "solo": ("celery", "-A", "tests.benchmarks.plain_celery", "worker", "--loglevel", "WARNING", "--pool", "solo"),
}
_APPS: Final = {"ours": "tasks", "event_tracking": "tests.benchmarks.event_tracking_celery"}
_PLAIN_APP: Final = "tests.benchmarks.plain_celery"
_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 10.0


class Workers:
    """``count`` workers of a kind, with additional variables ``environ``. ``with`` waits until they answer.

    Args:
        places: How many tasks one of them runs at a time; 0 for its own default.
    """

    def __init__(self, kind: str, count: int, *, environ: dict[str, str] | None = None, places: int = 0) -> None:
        self._kind = kind
        self._places = places
        self._environ = os.environ | (environ or {})
        self._count = count
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        for number in range(self._count):
            command = [sys.executable, "-m", *COMMANDS[self._kind], "--hostname" if self._kind != "ours" else "--name"]
            command += [f"w{number}@bench", *(("-c", str(self._places)) if self._places else ())]
            self._processes.append(subprocess.Popen(command, env=self._environ))
        self._wait_until_ready()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            _end(process)

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while (answered := self._ping()) < self._count:
            if time.monotonic() >= deadline:
                raise TimeoutError(f"{answered} of {self._count} workers answered within {_START_SECONDS:g} s")

    def _ping(self) -> int:
        command = [sys.executable, "-m", "celery", "-A", _APPS.get(self._kind, _PLAIN_APP), "inspect", "ping", "--json"]
        done = subprocess.run([*command, "--timeout", "1"], capture_output=True, check=False, env=self._environ)
        try:
            answers: dict[str, object] = json.loads(done.stdout)
        except json.JSONDecodeError:
            return 0
        return len(answers)


class RelayProcess:
    """``dispatcher relay`` beside an emitting process that has no relay thread."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen([sys.executable, "-m", "dispatcher", "relay"])
        return self

    @property
    def pid(self) -> int:
        return self._process.pid

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        _end(self._process)


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
