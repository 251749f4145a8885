"""Web processes: the processes of a case that emit, and what each of them has emitted."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from random import Random

from tests.faults.progress import Emitted, count_emitted, read_emitted, returned_from
from tests.faults.web import ONLY_ASKS
from tests.support.processes import Child, Processes
from tests.support.waiting import wait_for


class WebProcesses:
    """Emitting processes, each with a number of its own in the names of its events.

    Args:
        processes: Starts them.
        directory: Where they note what they have emitted.
        chance: Chooses the process that is killed or stopped.
    """

    def __init__(self, processes: Processes, directory: Path, chance: Random) -> None:
        self._processes = processes
        self._directory = directory
        self._chance = chance
        self._children: list[Child] = []
        # The number of the next process. Visitors and processes that were left behind are counted too.
        self._next = 0
        # For processes whose machine lost power, by number: how many emits of each thread were synced by then.
        self._synced: dict[int, Sequence[int]] = {}
        # Processes with a lower number have lost power already.
        self._cut = 0
        # Processes that were ended on purpose.
        self._ended: set[int] = set()

    def start(
        self,
        *arguments: str,
        threads: int = 2,
        rate: float = 250,
        wait: bool = True,
        descriptors: int = 0,
        **environ: str,
    ) -> Child:
        """Start a process that emits until the end of the load.

        Args:
            rate: Events a second of each thread.
            wait: Whether to wait until it emits.
            descriptors: How many files it may open; 0 for as many as this process.
        """
        child = self._start(
            *("--threads", str(threads), "--rate", str(rate), *arguments), descriptors=descriptors, **environ
        )
        self._children.append(child)
        if wait:
            child.wait_for_output("emitting")
        return child

    def start_visitor(self, *arguments: str, forks: int = 0) -> Child:
        """Start a process that emits beside the others, and that the case itself ends."""
        return self._start(*("--threads", "1", "--forks", str(forks), *arguments), numbers=1 + forks)

    def leave_behind(self, outboxes: int, *, each: int = 100) -> None:
        """Leave this many outboxes with a few events each, as if as many processes had been killed.

        Args:
            each: How many of them one process makes.
        """
        for _ in range(outboxes // each):
            child = self._processes.start(
                *(sys.executable, "-m", "tests.faults.left", str(self._next), str(each), str(self._directory)),
                DISPATCHER_RELAY__MODE="external",
            )
            assert child.wait(60) == -signal.SIGKILL, child.output[-2000:]
            self._next += each

    @property
    def running(self) -> list[Child]:
        """The processes that run now."""
        return [child for child in self._children if child.running]

    def kill_one(self) -> None:
        """Kill -9 one of them, and start another in its place."""
        self._pick().kill()
        self.start(wait=False)

    def stop_one(self) -> None:
        """End one of them with SIGTERM, and start another in its place."""
        self._pick().stop()
        self.start(wait=False)

    def synced_by_now(self) -> dict[int, list[int]]:
        """For ``cut_power``: what every process has emitted by now."""
        return {number: returned_from(self._directory, number) for number in range(self._next)}

    def cut_power(self, synced: Mapping[int, Sequence[int]]) -> None:
        """Kill -9 all of them. Only events that were synced count as emitted.

        Args:
            synced: From ``synced_by_now``. A process that is missing in it has started later.
        """
        for child in self.running:
            self._ended.add(child.pid)
            child.kill()
        for number in range(self._cut, self._next):
            self._synced[number] = synced.get(number, [])
        self._cut = self._next

    def emitted(self) -> Emitted:
        """What all processes have emitted so far."""
        return read_emitted(self._directory, self._next, self._synced)

    def count(self) -> int:
        """How many emits have returned so far. Cheaper than ``emitted``."""
        return count_emitted(self._directory, self._next)

    def end_emitting(self, threads: int) -> None:
        """Have their pages, one for each thread, emit nothing more, and only ask what waits for them."""
        (self._directory / "stop").touch()
        for child in self.running:
            wait_for(partial(_only_asks, child, threads), 90, what="the pages to emit nothing more")

    def end(self) -> list[str]:
        """Have all of them end normally, which may leave events in their outboxes. Returns the problems."""
        for name in ("stop", "closed"):
            (self._directory / name).touch()
        codes = [(child, child.wait(40)) for child in self._children]
        return [
            f"a web process ended with {code}: {child.output[-300:]}"
            for child, code in codes
            if code != 0 and child.pid not in self._ended
        ]

    def output(self) -> str:
        """The end of what each process has printed."""
        return "\n".join(child.output[-400:] for child in self._children)

    def _pick(self) -> Child:
        child = self._chance.choice(self.running)
        self._ended.add(child.pid)
        return child

    def _start(self, *arguments: str, numbers: int = 1, descriptors: int = 0, **environ: str) -> Child:
        number = self._next
        self._next += numbers
        command = (sys.executable, "-m", "tests.faults.web", str(number), str(self._directory), *arguments)
        return self._processes.start(*command, descriptors=descriptors, **environ)


def _only_asks(child: Child, threads: int) -> bool:
    return child.output.count(ONLY_ASKS) == threads or not child.running
