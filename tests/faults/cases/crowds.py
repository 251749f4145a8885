"""Many processes: hundreds of outboxes of dead processes, and processes that come and go all the time."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dispatcher.outbox import find_outboxes, journals_bytes
from tests.faults.case import Cases
from tests.faults.expectation import Expectation
from tests.faults.stage import Stage
from tests.support.processes import Child
from tests.support.waiting import wait_for

crowds = Cases()

_MIB = 1 << 20
_OUTBOXES = 500
# Files that a relay may open, while hundreds of outboxes have about four files each.
_DESCRIPTORS = 256
# As small as possible, so that a process fills several a second.
_TINY_JOURNALS = {
    "DISPATCHER_OUTBOX__MAX_EVENT_BYTES": "8192",
    "DISPATCHER_OUTBOX__JOURNAL_BYTES": "16384",
}
# All visitors, and how many run at a time.
_VISITORS = 100
_AT_ONCE = 4
# Half-made outboxes are not touched for a minute, and others wait until a relay comes back to them.
_CLEARED_SECONDS = 150


@crowds.add(f"{_OUTBOXES} outboxes of the dead, and a relay with {_DESCRIPTORS} descriptors")
def crowd_of_dead_for_relay(stage: Stage) -> None:
    stage.environ["DISPATCHER_RELAY__MODE"] = "external"
    _adopt_all(stage, lambda: (stage.webs.start(), stage.relays.start(descriptors=_DESCRIPTORS))[1])


@crowds.add(f"{_OUTBOXES} outboxes of the dead, and a web process with {_DESCRIPTORS} descriptors")
def crowd_of_dead_for_web(stage: Stage) -> None:
    # So that it also opens further journals meanwhile.
    stage.environ.update(_TINY_JOURNALS)
    _adopt_all(stage, lambda: stage.webs.start(descriptors=_DESCRIPTORS))


def _adopt_all(stage: Stage, start: Callable[[], Child]) -> None:
    stage.webs.leave_behind(100 if stage.short else _OUTBOXES)
    root = stage.outbox
    left = len(find_outboxes(root))
    stage.notes.append(f"{left} outboxes took {journals_bytes(root) / _MIB:.1f} MiB")
    # So that none of them is settled meanwhile, and none can be removed.
    stage.sink.close()
    stage.workers.start()
    child = start()
    most = _watch(stage, child, lambda: stage.site.counts("segment").waiting >= left, 30)
    stage.sink.start()
    most = max(most, _watch(stage, child, lambda: len(find_outboxes(root)) <= 2, 60))
    stage.notes.append(f"up to {most} descriptors")


def _watch(stage: Stage, child: Child, is_done: Callable[[], bool], seconds: float) -> int:
    """Go on until it is done, or for ``seconds``. Returns the highest number of descriptors of the process."""
    most, deadline = 0, time.monotonic() + seconds
    while not is_done():
        if time.monotonic() > deadline:
            stage.problems.append(f"not done within {seconds:g} s: {child.output[-300:]}")
            break
        stage.go_on(0.1)
        with suppress(OSError):
            most = max(most, len(os.listdir(f"/proc/{child.pid}/fd")))
    return most


@crowds.add(
    "processes come and go beside two web processes: in order, by SIGTERM, by kill -9, with forked children",
    in_tests=True,
)
def coming_and_going(stage: Stage) -> None:
    stage.environ.update(_TINY_JOURNALS)
    stage.workers.start()
    stage.load(2, rate=500)
    _let_all_visit(stage, 2 * len(_KINDS) if stage.short else _VISITORS)


@crowds.add(
    "1,000 processes come and go beside a web process, a relay process and two workers",
    Expectation(patience_seconds=180),
    is_long=True,
)
def thousand_coming_and_going(stage: Stage) -> None:
    stage.environ["DISPATCHER_RELAY__MODE"] = "external"
    for name in ("one", "two"):
        stage.workers.start("-n", f"{name}@%h")
    relay = stage.relays.start()
    stage.load(1, rate=100)
    _let_all_visit(stage, 2 * len(_KINDS) if stage.short else 1000, relay)


def _let_all_visit(stage: Stage, count: int, relay: Child | None = None) -> None:
    """Let processes come and go, and wait until nothing of them is left. Notes what they took at the most.

    Args:
        count: How many, a multiple of the kinds.
        relay: The process whose descriptors are watched, if there is one.
    """
    visits = [_Visit(stage, kind) for kind in _kinds(stage, count)]
    running: list[_Visit] = []
    descriptors = outboxes = size = 0
    while visits or running:
        while visits and len(running) < _AT_ONCE:
            running.append(visits.pop())
            running[-1].begin()
        stage.go_on(0.05)
        running = [visit for visit in running if not visit.has_ended()]
        outboxes = max(outboxes, len(find_outboxes(stage.outbox)))
        size = max(size, journals_bytes(stage.outbox))
        with suppress(OSError):
            descriptors = max(descriptors, len(os.listdir(f"/proc/{relay.pid}/fd")) if relay else 0)
    story = f"up to {outboxes} outboxes with {size / _MIB:.1f} MiB"
    stage.notes.append(f"{story}, {descriptors} descriptors of the relay" if relay else story)
    wait_for(lambda: not _left(stage), _CLEARED_SECONDS, what=lambda: f"all outboxes to go; there are {_left(stage)}")
    for words in ("Traceback", "cannot be read"):
        if words in stage.output():
            at = stage.output().index(words)
            stage.problems.append(f"a process printed {words}: {stage.output()[max(0, at - 200) : at + 800]}")


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a process comes and goes.

    Args:
        arguments: Its arguments beyond its number.
        forks: How many children it forks. They emit as much and end normally, every other one by ``os._exit``.
        ends_by: The signal that ends it; None if it ends by itself.
    """

    name: str
    arguments: tuple[str, ...] = ()
    forks: int = 0
    ends_by: signal.Signals | None = None


_FEW = ("--count", "30", "--rate", "200")
_KINDS = (
    _Kind("in order", _FEW),
    _Kind("by SIGTERM", ends_by=signal.SIGTERM),
    _Kind("by kill -9", ends_by=signal.SIGKILL),
    _Kind("with forked children", _FEW, forks=3),
    _Kind("by kill -9 with forked children that go on", ("--count", "60", "--rate", "100"), 2, signal.SIGKILL),
)


def _kinds(stage: Stage, count: int) -> list[_Kind]:
    """The same number of each kind, in random order."""
    each = count // len(_KINDS)
    stage.notes.append(f"{each} each " + ", ".join(kind.name for kind in _KINDS))
    return stage.chance.sample(_KINDS * each, each * len(_KINDS))


class _Visit:
    """One process that comes and goes."""

    def __init__(self, stage: Stage, kind: _Kind) -> None:
        self._stage = stage
        self._kind = kind

    def begin(self) -> None:
        self._child = self._stage.webs.start_visitor(*self._kind.arguments, forks=self._kind.forks)
        # A start takes half a second, so some end before they emit.
        self._until = time.monotonic() + self._stage.chance.uniform(0.3, 2)

    def has_ended(self) -> bool:
        by = self._kind.ends_by
        if self._child.running and by is not None and time.monotonic() >= self._until:
            self._child.send(by)
            self._child.wait()
        if self._child.running:
            return False
        code = self._child.wait()
        if code not in (0, 0 if by is None else -by):
            self._stage.problems.append(f"one {self._kind.name} ended with {code}: {self._child.output[-300:]}")
        return True


def _left(stage: Stage) -> list[Path]:
    """The directories of all outboxes except those of the web processes; hidden ones too."""
    running = {str(child.pid) for child in stage.webs.running}
    found = [path for path in stage.outbox.iterdir() if path.is_dir() and path.name != "damaged"]
    return [path for path in found if path.name.lstrip(".").partition("-")[0] not in running]
