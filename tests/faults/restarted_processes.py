"""Restarted processes: workers, relays, collectors. They are started again when they have ended, as by systemd."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from random import Random

from tests.support.processes import Child, Processes, child_pids


@dataclass(slots=True)
class _Restarted:
    start: Callable[[], Child]
    child: Child


class RestartedProcesses:
    """All processes of one ``dispatcher`` command in a case.

    Args:
        processes: Starts them.
        command: ``worker``, ``relay`` or ``collector``.
        ready: What such a process prints once it works.
        chance: Chooses the process that is killed.
    """

    def __init__(self, processes: Processes, command: str, *, ready: str, chance: Random) -> None:
        self._processes = processes
        self._command = command
        self._ready = ready
        self._chance = chance
        self._restarted: list[_Restarted] = []
        #: How many have ended by themselves, and the last words of the latest one.
        self.ended = 0
        self.last_words = ""

    def start(self, *arguments: str, wait: bool = True, descriptors: int = 0, **environ: str) -> Child:
        """Start one more.

        Args:
            wait: Whether to wait until it works.
            descriptors: How many files it may open; 0 for as many as this process.
        """

        def start() -> Child:
            return self._processes.dispatcher(self._command, *arguments, descriptors=descriptors, **environ)

        child = start()
        self._restarted.append(_Restarted(start, child))
        if wait:
            child.wait_for_output(self._ready)
        return child

    @property
    def running(self) -> list[Child]:
        """The processes that run now."""
        return [one.child for one in self._restarted if one.child.running]

    def kill(self, child: Child) -> None:
        """Kill -9 this process, and start it again."""
        child.kill()
        for one in self._restarted:
            if one.child is child:
                one.child = one.start()

    def kill_one(self) -> None:
        """Kill -9 one of them, and start it again."""
        self.kill(self._chance.choice(self.running))

    def stop_one(self) -> int:
        """End one of them with SIGTERM, and start it again. Returns its exit code."""
        child = self._chance.choice(self.running)
        code = child.stop()
        for one in self._restarted:
            if one.child is child:
                one.child = one.start()
        return code

    def forget(self, child: Child) -> None:
        """Do not start this process again."""
        self._restarted = [one for one in self._restarted if one.child is not child]

    def restart_ended(self) -> None:
        """Start those again that have ended by themselves."""
        for one in self._restarted:
            if not one.child.running:
                self.ended += 1
                self.last_words = " / ".join(one.child.output.strip().splitlines()[-2:])[-400:]
                one.child = one.start()


class Workers(RestartedProcesses):
    """Workers: each is a supervisor with a Celery process, which has a pool of children if it is prefork's."""

    def celery_pid(self, worker: Child) -> int:
        """The id of a worker's Celery process, which its supervisor starts again; 0 while it has none."""
        return next(iter(child_pids(worker.pid)), 0)

    def kill_celery(self, *workers: Child) -> None:
        """Kill -9 the Celery process of one of these workers; of any worker if none is given."""
        self._kill_pid([self.celery_pid(worker) for worker in workers or self.running])

    def kill_pool_child(self, worker: Child) -> None:
        """Kill -9 one process of a prefork worker's pool, which Celery starts again."""
        celery = self.celery_pid(worker)
        self._kill_pid(child_pids(celery) if celery else [])

    def _kill_pid(self, pids: list[int]) -> None:
        running = [pid for pid in pids if pid]
        if running:
            with suppress(ProcessLookupError):
                os.kill(self._chance.choice(running), signal.SIGKILL)
