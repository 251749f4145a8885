"""Crowd processes: many emitting processes, forked from one as a web server's workers are."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from contextlib import suppress
from itertools import islice
from multiprocessing.connection import Connection
from typing import Any, Final, Self

from tests.benchmarks.emitters import open_emitter
from tests.benchmarks.place import Place
from tests.benchmarks.sample import contexts, data

_FORK: Final = multiprocessing.get_context("fork")
# Numbers of events that processes have for themselves.
_NUMBERS: Final = 10_000_000
# How often a process that emits as fast as it can looks for room.
_ROOM: Final = 500
_START_SECONDS: Final = 120.0


class CrowdProcesses:
    """``count`` processes with an emitter each. ``with`` waits until each has emitted one event.

    Args:
        emitter: The name of the emitter.
        place: Where its servers are.
    """

    def __init__(self, emitter: str, place: Place, count: int) -> None:
        self._emitter = emitter
        self._place = place
        self._count = count
        self._ends: list[Connection] = []
        self.pids: list[int] = []

    def __enter__(self) -> Self:
        # Made once, before the forks.
        next(contexts())
        next(data())
        for number in range(self._count):
            ours, theirs = _FORK.Pipe()
            process = _FORK.Process(target=_serve, args=(theirs, self._emitter, self._place, number), daemon=True)
            process.start()
            assert process.pid is not None
            self.pids.append(process.pid)
            self._ends.append(ours)
        self._answers(_START_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        # Not in order: what is left in queues and outboxes is deleted with the place.
        for pid in self.pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def emit(self, *, rate: float, seconds: float) -> dict[str, float]:
        """Emit ``rate`` events a second in each process, each at moments of its own, and wait until all are done.

        Each event belongs to a request of its own.

        Returns:
            How many ``events`` were emitted, how many of them were ``dropped``, and for how many ``seconds`` the last
            process emitted: more than wanted where it cannot keep the rate.
        """
        wanted = {"events": round(rate * seconds), "interval": 1 / rate, "a_request": 1}
        for number, end in enumerate(self._ends):
            end.send(wanted | {"phase": number / self._count / rate})
        return self._sums(seconds * 10 + _START_SECONDS)

    def emit_all(self, events: int, *, a_request: int, timeout_seconds: float) -> dict[str, float]:
        """Emit ``events`` in each process as fast as it can, ``a_request`` of them in each request.

        Returns:
            As ``emit`` does. None is dropped for lack of room in a queue: the callers wait.
        """
        for end in self._ends:
            end.send({"events": events, "interval": 0.0, "a_request": a_request, "phase": 0.0})
        return self._sums(timeout_seconds)

    def _sums(self, timeout_seconds: float) -> dict[str, float]:
        answers = self._answers(timeout_seconds)
        return {
            "events": sum(one["events"] for one in answers),
            "dropped": sum(one["dropped"] for one in answers),
            "seconds": max(one["seconds"] for one in answers),
        }

    def _answers(self, timeout_seconds: float) -> list[dict[str, Any]]:
        deadline = time.monotonic() + timeout_seconds
        answers = []
        for end in self._ends:
            if not end.poll(max(deadline - time.monotonic(), 0)):
                raise TimeoutError(f"{len(answers)} of {self._count} processes answered in {timeout_seconds:g} s")
            answers.append(end.recv())
        return answers


def _serve(end: Connection, emitter: str, place: Place, number: int) -> None:
    requests = contexts()
    events = data(first=number * _NUMBERS)
    with open_emitter(emitter, place) as opened:
        opened.bind(next(requests))
        opened.emit(next(events) | {"emitted_at": time.monotonic()})
        end.send({})
        while True:
            wanted = end.recv()
            start = time.monotonic()
            for position, one in enumerate(islice(events, wanted["events"])):
                if wanted["interval"]:
                    ahead = start + wanted["phase"] + position * wanted["interval"] - time.monotonic()
                    if ahead > 0:
                        time.sleep(ahead)
                elif position % _ROOM == 0:
                    opened.make_room()
                if position % wanted["a_request"] == 0:
                    opened.bind(next(requests))
                opened.emit(one | {"emitted_at": time.monotonic()})
            seconds = time.monotonic() - start
            end.send({"events": wanted["events"], "dropped": opened.dropped(), "seconds": seconds})
