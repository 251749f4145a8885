"""Stage: the processes of the demo, `dispatcher up` and the shop, on one directory. None is left behind."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Self

from dispatcher.installation import launch
from dispatcher.local.demo.shop import COLLECTOR_VARIABLE
from dispatcher.local.demo.visits import DemoError
from dispatcher.local.supervisor import Child, Supervisor
from dispatcher.process.system_calls import pids_with

#: The file that marks a directory of the demo, which it may empty.
_MARK: Final = ".dispatcher-demo"
# What tells the demo's processes from others.
_VARIABLE: Final = "DISPATCHER_STATE_DIRECTORY"
_START_SECONDS: Final = 60.0
_SHOWN_LINES: Final = 12
_LISTENING: Final = re.compile(r"Listening at: http://127\.0\.0\.1:(\d+)")
_READY: Final = re.compile(r"\bup ready\b")
_BOARD: Final = re.compile(r"\bboard (http://\S+ \(user \S+, password \S+\))")
_COLLECTOR: Final = re.compile(r"\bcollector (http://\S+) for web\b")


class Stage:
    """A context that ends whatever was started in it. For the main thread.

    Args:
        directory: For everything: journals, Redis' data, the log, what the Segment stub received.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._supervisor = Supervisor(self._say)
        self._lines: dict[str, list[str]] = {"up": [], "shop": []}
        self._output_changed = threading.Condition()
        #: Where the board is, and its login; empty before it started, and where its extra is not installed.
        self.board = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._supervisor.stop()

    def start_dispatcher(self) -> str:
        """Start `dispatcher up` and wait until it is ready. Raises DemoError with its last lines if it ends before.

        Returns:
            The collector's URL; empty where its extra is not installed.
        """
        self._start(Child("up", launch.command("dispatcher", "up", "--no-flower")), _READY)
        with self._output_changed:
            found = next(filter(None, map(_COLLECTOR.search, self._lines["up"])), None)
            board = next(filter(None, map(_BOARD.search, self._lines["up"])), None)
        self.board = board[1] if board is not None else ""
        return found[1] if found is not None else ""

    def start_shop(self, collector: str) -> int:
        """Start the shop under gunicorn with two processes. Returns its port.

        Args:
            collector: The URL that its page loads tracker.js from.
        """
        if find_spec("gunicorn") is None:
            raise DemoError("gunicorn, which runs the shop, is not installed: pip install gunicorn")
        options = ("--bind=127.0.0.1:0", "--workers=2", "--threads=4", "--no-control-socket")
        # gunicorn looks for the app in the directory that it changes to first, which has to be one of ours.
        command = launch.command("gunicorn", *options, f"--chdir={self.directory}", "dispatcher.local.demo.shop:app")
        return int(self._start(Child("shop", command, {COLLECTOR_VARIABLE: collector}), _LISTENING)[1])

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a `dispatcher` command to its end. Blocks."""
        command = launch.command("dispatcher", *arguments)
        # Wide, since its output is shown again in other columns.
        environ = {**os.environ, "COLUMNS": "1000"}
        return subprocess.run(
            command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, env=environ
        )

    def stop(self) -> None:
        """End everything. Raises DemoError if a process is left."""
        self._supervisor.stop()
        left = pids_with(_VARIABLE, str(self.directory))
        if left:
            raise DemoError(f"these processes are still there: {', '.join(map(str, left))}")

    def _start(self, child: Child, pattern: re.Pattern[str]) -> re.Match[str]:
        self._supervisor.start(child)
        deadline = time.monotonic() + _START_SECONDS
        with self._output_changed:
            while True:
                for line in self._lines[child.name]:
                    found = pattern.search(line)
                    if found is not None:
                        return found
                assert child.process is not None
                if child.process.poll() is not None or time.monotonic() > deadline:
                    last = "\n".join(f"  {line}" for line in self._lines[child.name][-_SHOWN_LINES:])
                    name = "`dispatcher up`" if child.name == "up" else "the shop"
                    raise DemoError(f"{name} did not start. It said last:\n{last or '  nothing'}")
                self._output_changed.wait(0.1)

    def _say(self, name: str, line: str) -> None:
        with self._output_changed:
            self._lines[name].append(line)
            with (self.directory / f"{name}.output").open("a", encoding="utf-8") as output:
                output.write(f"{line}\n")
            self._output_changed.notify_all()


def clear(directory: Path) -> None:
    """Make ``directory``, empty and marked as the demo's. Raises DemoError if it holds anything else, or is in use."""
    if directory.exists():
        if not directory.is_dir() or (any(directory.iterdir()) and not (directory / _MARK).exists()):
            raise DemoError(f"{directory} was not made by the demo, so it is left alone: name another --directory")
        left = pids_with(_VARIABLE, str(directory))
        if left:
            raise DemoError(f"a demo is running in {directory} already, as process {left[0]}")
        shutil.rmtree(directory)
    directory.mkdir(mode=0o700, parents=True)
    (directory / _MARK).touch()
