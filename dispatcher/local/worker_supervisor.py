"""Worker supervisor: the small parent that ``dispatcher worker`` becomes, which restarts its Celery process.

``python -m dispatcher.local.worker_supervisor [--silent-seconds=N] PROGRAM ARGUMENT…``
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from typing import Final

from dispatcher.errors import SettingsError
from dispatcher.installation.launch import NEVER_STARTS
from dispatcher.local.supervisor import Child, Say, Supervisor
from dispatcher.process.heartbeat import SILENT_SECONDS

_SILENT: Final = "--silent-seconds="
# Seconds between two checks of the child.
_CHECK_SECONDS: Final = 0.2


class WorkerSupervisor:
    """Keeps one child running until this process is told to stop, and forwards signals to it.

    For the main thread, whose signal handlers it replaces for good. SIGTERM and SIGINT stop the child in order; a
    second one does so at once, with SIGQUIT, as SIGQUIT itself does. SIGHUP and SIGUSR1 are forwarded.

    Args:
        child: What to run.
        say: Called with the child's name and a line about it.
        on_end: Called with the child's name and its signal or exit code when it has ended by itself.
    """

    def __init__(self, child: Child, say: Say, *, on_end: Say = lambda _name, _how: None) -> None:
        self._child = child
        self._supervisor = Supervisor(say, on_end=on_end)
        self._stopped = threading.Event()
        self._has_quit = False
        self._was_asked = False
        # A list, since its pop is one step, in which no other signal comes.
        self._quits = [signal.SIGQUIT]

    def run(self) -> int:
        """Run until the end, and block for so long.

        Returns:
            The exit code of this process: 0 after a stop in order, 2 if the child could not start at all, else 1.
        """
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, self._on_signal)
        self._supervisor.start(self._child)
        while not self._stopped.wait(_CHECK_SECONDS):
            process = self._child.process
            if process is not None and process.poll() == NEVER_STARTS:
                return NEVER_STARTS
            self._supervisor.restart_ended()
        process = self._child.process
        self._ask()
        self._supervisor.stop(asks=False)
        return 0 if process is None or process.returncode == 0 else 1

    def _ask(self) -> None:
        """Tell the child to end: never with SIGTERM behind SIGQUIT, nor with SIGQUIT twice.

        A child that is ending would die of it before it has returned its exit code.
        """
        if not self._has_quit:
            self._forward(signal.SIGTERM)
        self._was_asked = True
        if self._has_quit:
            self._quit()

    def _quit(self) -> None:
        with contextlib.suppress(IndexError):
            self._forward(self._quits.pop())

    def _on_signal(self, number: int, _: object) -> None:
        if number in (signal.SIGHUP, signal.SIGUSR1):
            self._forward(number)
            return
        if number == signal.SIGQUIT or self._stopped.is_set():
            self._has_quit = True
            if self._was_asked:
                self._quit()
        self._stopped.set()

    def _forward(self, number: int) -> None:
        process = self._child.process
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)


def main() -> None:
    """Keep the program of the command line running."""
    command, silent_seconds = sys.argv[1:], SILENT_SECONDS
    if command and command[0].startswith(_SILENT):
        silent_seconds = float(command.pop(0).removeprefix(_SILENT))
    child = Child("worker", command, captured=False, silent_seconds=silent_seconds)
    sys.exit(WorkerSupervisor(child, _say, on_end=_report).run())


def _say(name: str, line: str) -> None:
    print(name, line, file=sys.stderr, flush=True)


def _report(name: str, how: str) -> None:
    # Imported here: a process whose child never crashes needs neither the settings nor Sentry.
    from dispatcher import config  # noqa: PLC0415
    from dispatcher.monitoring.sentry.errors import report_ended_process  # noqa: PLC0415
    from dispatcher.monitoring.sentry.start import start_sentry  # noqa: PLC0415

    try:
        start_sentry(config.load(), role="worker_supervisor")
    except SettingsError:
        return  # the child has said so itself
    report_ended_process(name, how)


if __name__ == "__main__":
    main()
