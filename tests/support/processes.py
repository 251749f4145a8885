"""Child processes of a test: their output is kept, each is ended by its id, and none is left over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tests.support.waiting import PATIENCE, wait_for

#: Every process of a test has this variable, with a directory of that test alone.
MARK = "DISPATCHER_STATE_DIRECTORY"
ROOT = Path(__file__).resolve().parents[2]

# Seconds for a process to do its work and end: its own waits, whose errors say more, come to their end before.
_PATIENCE = 2 * PATIENCE


class Child:
    """A started process and its output."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.pid = process.pid
        self._log = log

    @property
    def output(self) -> str:
        """What it has printed so far to both streams."""
        return self._log.read_text(errors="replace")

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it with -9 and wait until it is gone."""
        self.process.kill()
        self.process.wait(PATIENCE)

    def wait(self, timeout: float = _PATIENCE) -> int:
        """Wait until it has ended, and return its exit code. It gets two minutes at least."""
        timeout = max(timeout, _PATIENCE)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.process.args!r} still runs after {timeout:g} s:\n{self.output}") from None

    def succeed(self, timeout: float = _PATIENCE) -> str:
        """Wait until it has ended with 0, and return its output."""
        code = self.wait(timeout)
        assert code == 0, f"{self.process.args!r} ended with {code}:\n{self.output}"
        return self.output

    def report(self, timeout: float = _PATIENCE) -> list[str]:
        """Wait until it has ended with 0, and return the words that it passed to ``report``. It may log around them."""
        line = next((line for line in self.succeed(timeout).splitlines() if line.startswith("report:")), None)
        assert line is not None, f"{self.process.args!r} reported nothing:\n{self.output}"
        return line.split()[1:]

    def stop(self, timeout: float = _PATIENCE) -> int:
        """Send SIGTERM, and return its exit code."""
        self.process.terminate()
        return self.wait(timeout)

    def wait_for_output(self, text: str, timeout: float = _PATIENCE) -> None:
        """Wait until it has printed ``text``."""
        wait_for(lambda: text in self.output or not self.running, timeout, what=lambda: f"{text!r} in:\n{self.output}")
        assert text in self.output, (
            f"it ended with {self.process.returncode} before it printed {text!r}:\n{self.output}"
        )


class Processes:
    """The processes of one test.

    Args:
        directory: For their output.
        environ: Their variables, including the ``MARK``. The dict may change between two starts.
        cwd: The directory that they start in.
        program: What ``dispatcher …`` is.
    """

    def __init__(
        self,
        directory: Path,
        environ: Mapping[str, str],
        *,
        cwd: Path = ROOT,
        program: Sequence[str] = (sys.executable, "-m", "dispatcher"),
    ) -> None:
        self._directory = directory
        self.environ = environ
        self._cwd = cwd
        self._program = program
        self._children: list[Child] = []

    def start(self, *arguments: str, descriptors: int = 0, **environ: str) -> Child:
        """Start a program in the background, in a session of its own.

        Args:
            descriptors: How many files it may open; 0 for as many as this process.
        """
        if descriptors:
            arguments = ("/bin/sh", "-c", f'ulimit -n {descriptors} && exec "$@"', "sh", *arguments)
        self._directory.mkdir(parents=True, exist_ok=True)
        log = self._directory / f"{len(self._children)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                arguments,
                cwd=self._cwd,
                env={**self.environ, **environ},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        child = Child(process, log)
        self._children.append(child)
        return child

    def python(self, code: str, *arguments: str, **environ: str) -> Child:
        """Start Python with a script."""
        script = self._directory / f"script-{len(self._children)}.py"
        self._directory.mkdir(parents=True, exist_ok=True)
        script.write_text(code)
        # Python 3.12 and later warn about forks beside threads, which some of these scripts test.
        warnings = ("-W", "error", "-W", "ignore:This process:DeprecationWarning")
        return self.start(sys.executable, *warnings, str(script), *arguments, **environ)

    def dispatcher(self, *arguments: str, **environ: str) -> Child:
        """Start ``dispatcher …``."""
        return self.start(*self._program, *arguments, **environ)

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run ``dispatcher …`` until it ends, with separate output streams."""
        return subprocess.run(
            [*self._program, *arguments],
            cwd=self._cwd,
            env=dict(self.environ),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )

    def close(self) -> None:
        """Kill -9 all processes that still run, and all that they have started. May be called twice."""
        for child in self._children:
            if child.running:
                child.kill()
        for pid in left_over(self.environ[MARK]):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def left_over(mark: str) -> list[int]:
    """The ids of all running processes with this mark, whichever process started them."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):  # it has ended, or belongs to another user
                # Redis overwrites its variables with its title, which names its socket.
                variables, title = (entry / "environ").read_bytes(), (entry / "cmdline").read_bytes()
                if wanted in variables.split(b"\0") or f"{mark}/embedded.sock".encode() in title:
                    found.append(int(entry.name))
    return found


def assert_none_left(mark: str, timeout: float = PATIENCE) -> None:
    """Wait until no process with this mark runs any more."""
    wait_for(
        lambda: not left_over(mark), timeout, what=lambda: f"no process left over; there are {command_lines(mark)}"
    )


def command_lines(mark: str) -> list[str]:
    """The ids and command lines of the processes that are left over."""
    lines = []
    for pid in left_over(mark):
        with suppress(OSError):
            lines.append(f"{pid} {Path(f'/proc/{pid}/cmdline').read_bytes().replace(bytes(1), b' ').decode()}")
    return lines


def memory_bytes(pid: int) -> int:
    """The anonymous resident memory of a process, without mapped files."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"process {pid} has no memory: it has ended")


def child_pids(pid: int) -> list[int]:
    """The ids of a process's children, whichever of its threads has started them."""
    found: list[int] = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # that thread has ended
            found += [int(child) for child in file.read_text().split()]
    return found
