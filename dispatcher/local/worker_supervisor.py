"""Keeper: what ``dispatcher worker`` becomes, the small parent of its Celery process, which it starts again.

``python -m dispatcher.local.worker_supervisor [--silent-seconds=N] PROGRAM ARGUMENT…``
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from typing import Final

from dispatcher.errors import SettingsError
from dispatcher.local.supervisor import Child, Say, Supervisor
from dispatcher.process.heartbeat import SILENT_SECONDS

_SILENT: Final = "--silent-seconds="
# Seconds between two looks at the child.
_LOOK_SECONDS: Final = 0.2
# What a program ends with that does not understand its command line; it never will.
_USAGE_ERROR: Final = 2


class Keeper:
    """Keeps one process running until this process is told to stop, and hands on the signals that it gets meanwhile.

    For a main thread, whose signal handlers it takes over for good: SIGTERM and SIGINT stop the child in order, a
    second one with SIGQUIT, SIGQUIT does so at once; SIGHUP and SIGUSR1 are handed on.
    """

    def __init__(self, child: Child, say: Say, *, on_end: Say = lambda _name, _how: None) -> None:
        self._child = child
        self._supervisor = Supervisor(say, on_end=on_end)
        self._stopped = threading.Event()

    def run(self) -> int:
        """Blocks until the end. Returns the exit code of this process.

        That is 0 after a stop in order, 2 where the child does not understand its command line, and else 1.
        """
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, self._on_signal)
        self._supervisor.start(self._child)
        while not self._stopped.wait(_LOOK_SECONDS):
            process = self._child.process
            if process is not None and process.poll() == _USAGE_ERROR:
                return _USAGE_ERROR
            self._supervisor.tend()
        process = self._child.process
        self._supervisor.stop()
        return 0 if process is None or process.returncode == 0 else 1

    def _on_signal(self, number: int, _: object) -> None:
        if number in (signal.SIGHUP, signal.SIGUSR1):
            self._send(number)
            return
        if number == signal.SIGQUIT or self._stopped.is_set():
            self._send(signal.SIGQUIT)
        self._stopped.set()

    def _send(self, number: int) -> None:
        process = self._child.process
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)


def main() -> None:
    """Keep running what the command line says."""
    command, silent_seconds = sys.argv[1:], SILENT_SECONDS
    if command and command[0].startswith(_SILENT):
        silent_seconds = float(command.pop(0).removeprefix(_SILENT))
    child = Child("worker", command, captured=False, silent_seconds=silent_seconds)
    sys.exit(Keeper(child, lambda name, line: print(name, line, file=sys.stderr, flush=True), on_end=_report).run())


def _report(name: str, how: str) -> None:
    # Not at the top of the file: a keeper whose child never crashes needs neither the settings nor Sentry.
    from dispatcher import config  # noqa: PLC0415
    from dispatcher.monitoring.sentry.errors import report_ended_process  # noqa: PLC0415
    from dispatcher.monitoring.sentry.start import start_sentry  # noqa: PLC0415

    try:
        start_sentry(config.load(), role="keeper")
    except SettingsError:
        return  # which the child itself has said
    report_ended_process(name, how)


if __name__ == "__main__":
    main()
