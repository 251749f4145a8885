"""Stage: what one case plays on: a Redis, the scripted sink, web processes under load, relays and workers."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Self, TypeVar

from dispatcher.errors import StoreUnavailableError
from tests.faults.account import Account
from tests.faults.judgement import SEGMENT, Count, Expectation, judge
from tests.faults.latency import LogLatency
from tests.faults.numbering import BOTH, for_segment
from tests.faults.places import log_files, read_dead, read_filed, read_ledger, read_log
from tests.faults.progress import Emitted, count_emitted, read_emitted, returned_from
from tests.faults.sink import ScriptedSink
from tests.support.processes import Child
from tests.support.redis_server import RedisServer
from tests.support.site import Site
from tests.support.waiting import wait_for

T = TypeVar("T")

Say = Callable[[str], None]

# Seconds between two looks at processes and counts while time passes.
_LOOK_SECONDS = 0.1
# So that no case takes minutes for what takes minutes in production.
_DESTINATION = {
    "LEASE_SECONDS": "2",
    "RETRY__FIRST_SECONDS": "0.2",
    "RETRY__MAX_SECONDS": "2",
    "BREAKER__FIRST_SECONDS": "0.5",
    "BREAKER__MAX_SECONDS": "2",
}
_SHORT_WAITS = {
    f"DISPATCHER_DESTINATIONS__{name}__{key}": value
    for name in ("TRACKING_LOG", "SEGMENT")
    for key, value in _DESTINATION.items()
}


@dataclass(slots=True)
class _Kept:
    """A process that is started again when it has ended, as systemd would."""

    start: Callable[[], Child]
    child: Child
    ended: int = 0


@dataclass
class Stage:
    """Everything of one case. ``with`` starts Redis and the sink; what else there is the case starts.

    Args:
        directory: For all that it writes.
        chance: Every random moment comes from it.
        short: Fewer strikes, for the tests.
        say: Called with what happens now.
    """

    directory: Path
    chance: Random
    short: bool = False
    say: Say = lambda _: None
    #: How many events a long case emits; None leaves it to the case.
    events: int | None = None
    #: Whether the sink refuses one event in a thousand for good, which then has to become a dead letter.
    expects_poison: bool = False
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stack = ExitStack()
        self._webs: list[Child] = []
        # Whoever emits has a number, and one that was left behind too.
        self._emitting = 0
        # Of those whose machine lost power: what of each thread was synced by then.
        self._kept: dict[int, list[int]] = {}
        # Those before it have lost it once, and are gone.
        self._cut = 0
        self._gone: set[int] = set()
        self._workers: list[_Kept] = []
        self._relays: list[_Kept] = []
        self._doing = ""
        self._words = ""
        self._others: dict[str, ScriptedSink] = {}

    def __enter__(self) -> Self:
        with self._stack:
            self.redis = self._stack.enter_context(RedisServer())
            self.sink = self._stack.enter_context(ScriptedSink())
            # The site asks its sink for nothing but the address.
            self.site = Site(self.directory, self.redis, self.sink)  # type: ignore[arg-type]
            self.allow([BOTH])
            self.environ.update(_SHORT_WAITS)
            self._stack.callback(self.site.close)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def environ(self) -> dict[str, str]:
        """The variables of all processes that are started from now on."""
        return self.site.environ

    def enter(self, thing: AbstractContextManager[T]) -> T:
        """Something of the case's own, which lasts until everything is accounted for."""
        return self._stack.enter_context(thing)

    def log_to(self, path: Path) -> None:
        """Have the tracking log elsewhere. Before the first worker."""
        self.site.log = path
        self.environ["DISPATCHER_DESTINATIONS__TRACKING_LOG__PATH"] = str(path)

    @property
    def outbox(self) -> Path:
        """The directory of all outboxes."""
        return self.site.settings().outbox_directory

    def output(self) -> str:
        """What all processes have printed so far, those that have ended too."""
        return "".join(path.read_text(errors="replace") for path in (self.directory / "output").glob("*.log"))

    def add_sink(self, name: str, kind: str = "segment") -> ScriptedSink:
        """Another destination of Segment's kind, which gets the same events. Before the first process."""
        self._others[name] = sink = self.enter(ScriptedSink())
        variables = {"TYPE": kind, "HOST": sink.url, "WRITE_KEY": "a-key", **_DESTINATION}
        self.environ.update(
            {f"DISPATCHER_DESTINATIONS__{name.upper()}__{key}": value for key, value in variables.items()}
        )
        self.allow([BOTH])
        return sink

    def allow(self, events: list[str]) -> None:
        """Write the allowlists of all sinks."""
        self.site.allow(events, more="".join(f"[destinations.{name}]\nevents = {events!r}\n" for name in self._others))

    def follow_log(self) -> LogLatency:
        """Measure the log's latency from now on."""
        return self.enter(LogLatency(self.site.log))

    # The processes.

    def web(
        self,
        *arguments: str,
        threads: int = 2,
        rate: float = 250,
        wait: bool = True,
        descriptors: int = 0,
        **environ: str,
    ) -> Child:
        """A web process that emits until the end of the load.

        Args:
            descriptors: How many it may have; 0 for as many as this process.
        """
        child = self._emitting_process(
            *("--threads", str(threads), "--rate", str(rate), *arguments), descriptors=descriptors, **environ
        )
        self._webs.append(child)
        if wait:
            child.wait_for_output("emitting", 30)
        return child

    def visitor(self, *arguments: str, forks: int = 0) -> Child:
        """A process that emits beside the web processes; its end is the case's to look after."""
        return self._emitting_process(*("--threads", "1", "--forks", str(forks), *arguments), numbers=1 + forks)

    def leave_behind(self, outboxes: int, *, each: int = 100) -> None:
        """Leave so many outboxes with an event or two, as of so many processes that were killed."""
        for _ in range(outboxes // each):
            child = self.site.processes.start(
                *(sys.executable, "-m", "tests.faults.left", str(self._emitting), str(each), str(self.directory)),
                DISPATCHER_RELAY__MODE="external",
            )
            assert child.wait(60) == -signal.SIGKILL, child.output[-2000:]
            self._emitting += each

    def _emitting_process(self, *arguments: str, numbers: int = 1, descriptors: int = 0, **environ: str) -> Child:
        number = self._emitting
        self._emitting += numbers
        return self._start(
            *("tests.faults.web", str(number), str(self.directory), *arguments), descriptors=descriptors, **environ
        )

    def _start(self, module: str, *arguments: str, descriptors: int, **environ: str) -> Child:
        command = (sys.executable, "-m", module, *arguments)
        if descriptors:
            command = ("/bin/sh", "-c", f'ulimit -n {descriptors} && exec "$@"', "sh", *command)
        return self.site.processes.start(*command, **environ)

    def worker(self, *arguments: str, wait: bool = True, **environ: str) -> Child:
        """A worker, started again whenever it has ended."""
        kept = self._keep(self._workers, lambda: self.site.processes.dispatcher("worker", *arguments, **environ))
        if wait:
            kept.wait_for_output(" ready.", 40)
        return kept

    def relay(self, *, descriptors: int = 0, **environ: str) -> Child:
        """A relay in a process of its own, started again whenever it has ended."""
        child = self._keep(self._relays, lambda: self._start("dispatcher", "relay", descriptors=descriptors, **environ))
        child.wait_for_output("relaying", 30)
        return child

    def webs(self) -> list[Child]:
        """Those that run."""
        return [child for child in self._webs if child.running]

    def workers(self) -> list[Child]:
        """Those that run."""
        return [kept.child for kept in self._workers if kept.child.running]

    def relays(self) -> list[Child]:
        """Those that run."""
        return [kept.child for kept in self._relays if kept.child.running]

    def forget(self, child: Child) -> None:
        """Do not start it again."""
        self._workers = [kept for kept in self._workers if kept.child is not child]
        self._relays = [kept for kept in self._relays if kept.child is not child]

    def kill_web(self) -> None:
        """Kill -9 one of the web processes, and have another take its place."""
        child = self.pick(self.webs())
        self._gone.add(child.pid)
        child.kill()
        self.web(wait=False)

    def synced_by_now(self) -> dict[int, list[int]]:
        """For ``cut_power``: what every process has emitted by now."""
        return {number: returned_from(self.directory, number) for number in range(self._emitting)}

    def cut_power(self, synced: dict[int, list[int]]) -> None:
        """Kill -9 all web processes, of which nothing counts as emitted but what was by then.

        Args:
            synced: Of ``synced_by_now``; a process that it does not name has come after it.
        """
        for child in self.webs():
            self._gone.add(child.pid)
            child.kill()
        for number in range(self._cut, self._emitting):
            self._kept[number] = synced.get(number, [])
        self._cut = self._emitting

    def stop_web(self) -> None:
        """End one of the web processes with SIGTERM, and have another take its place."""
        child = self.pick(self.webs())
        self._gone.add(child.pid)
        child.stop()
        self.web(wait=False)

    def kill(self, child: Child) -> None:
        """Kill -9, and start again what is kept running."""
        child.kill()
        for kept in (*self._workers, *self._relays):
            if kept.child is child:
                kept.child = kept.start()

    def pick(self, children: list[Child]) -> Child:
        """One of them, by chance."""
        return self.chance.choice(children)

    def celery(self, worker: Child) -> int:
        """The id of a worker's Celery process, which its keeper starts again; 0 while there is none."""
        return next(iter(children(worker.pid)), 0)

    def pool(self, worker: Child) -> list[int]:
        """The processes of a prefork worker's pool, by id."""
        celery = self.celery(worker)
        return children(celery) if celery else []

    def kill_one(self, pids: list[int]) -> None:
        """Kill -9 one of these processes, which somebody else starts again."""
        running = [pid for pid in pids if pid]
        if running:
            with suppress(ProcessLookupError):
                os.kill(self.chance.choice(running), signal.SIGKILL)

    # The passing of time.

    def load(self, webs: int = 2, *arguments: str, rate: float = 250, **environ: str) -> None:
        """Start the web processes, and wait until events have come through to both ends."""
        for _ in range(webs):
            self.web(*arguments, rate=rate, **environ)
        wait_for(
            lambda: any(path.stat().st_size for path in log_files(self.site.log)) and self.sink.requests,
            30,
            what=lambda: f"the first events to arrive; {self._story()}",
        )

    def go_on(self, least: float, most: float | None = None) -> None:
        """Let the load run for some seconds, by chance between the two."""
        deadline = time.monotonic() + (least if most is None else self.chance.uniform(least, most))
        while (left := deadline - time.monotonic()) > 0:
            self._tend()
            self._tell()
            time.sleep(min(_LOOK_SECONDS, left))

    def strike(self, what: str, action: Callable[[], object], *, times: int = 5, pause: tuple[float, float]) -> None:
        """Do it some times, each time at a random moment."""
        count = min(times, 2) if self.short else times
        for number in range(count):
            self._doing = f"{what} {number + 1}/{count}"
            self.go_on(*pause)
            action()
        self.notes.append(f"{what}, {count} times" if count > 1 else what)

    def during(self, what: str, seconds: float) -> None:
        """Let a state last while the load goes on."""
        self._doing = what
        self.go_on(seconds / 2 if self.short else seconds)
        self._doing = ""

    def under_load(self, begin: Callable[[], object], what: str, seconds: float, end: Callable[[], object]) -> None:
        """Start a worker and the load, and let a state last from ``begin`` to ``end`` while they go on."""
        self.worker()
        self.load(2)
        begin()
        self.during(what, seconds)
        end()

    def go_on_until_emitted(self, what: str) -> None:
        """Let the load run until every web process has emitted what it was to."""
        self._doing = what
        while self.webs():
            self.go_on(0.5)

    def emitted(self) -> Emitted:
        """What was emitted so far."""
        return read_emitted(self.directory, self._emitting, self._kept)

    def end_load(self) -> None:
        """Have the web processes end in order, which may leave events in their outboxes."""
        self._doing = "the web processes end"
        self._tell()
        (self.directory / "stop").touch()
        for child in self._webs:
            code = child.wait(40)
            if code != 0 and child.pid not in self._gone:
                self.problems.append(f"a web process ended with {code}: {child.output[-300:]}")

    # The end.

    def finish(self, expected: Expectation) -> Account:
        """Wait until everything has arrived, or patience is at its end, and account for it."""
        self.end_load()
        if not self._relays:
            self.relay()  # what killed processes left behind
        emitted = self.emitted()
        arrival_seconds = self.wait_until_arrived("the rest arrives", expected.patience_seconds)
        self.go_on(expected.quiet_seconds)
        return self._account(emitted, expected, arrival_seconds)

    def wait_until_arrived(self, what: str, patience_seconds: float = 600) -> float:
        """Wait until all that was emitted so far is at both ends, or patience is at its end. Returns the seconds."""
        self._doing = what
        emitted, began = self.emitted(), time.monotonic()
        while time.monotonic() - began < patience_seconds and not self._has_arrived(emitted):
            self.go_on(0.2)
        return time.monotonic() - began

    def _has_arrived(self, emitted: Emitted) -> bool:
        # The cheap questions first: there may be half a million lines.
        if self._waiting() != 0 or self._waiting() != 0 or self._lines() < len(emitted.sure):
            return False
        found, _ = read_log(self.site.log)
        due = for_segment(found)
        return not emitted.sure - found.keys() and all(not due - self._at(name) for name in self._sinks())

    def _sinks(self) -> dict[str, ScriptedSink]:
        return {SEGMENT: self.sink, **self._others}

    def _at(self, name: str) -> frozenset[str]:
        sink = self._sinks()[name]
        return frozenset(sink.keys[message_id] for message_id in sink.counts()[1]) | self._dead(name)

    def _dead(self, name: str) -> frozenset[str]:
        return read_dead(self.redis, name) | read_filed(self.site.settings().state_directory, name)

    def _account(self, emitted: Emitted, expected: Expectation, arrival_seconds: float) -> Account:
        lines, broken = read_log(self.site.log)
        seen, taken = self.sink.counts()
        count = Count(
            emitted=emitted,
            lines=lines,
            broken=broken,
            seen=seen,
            taken=taken,
            keys=self.sink.keys,
            dead=self._dead(SEGMENT),
            others={name: self._at(name) for name in self._others},
            ledger=read_ledger(self.site.ledger()),
            poison=self.expects_poison,
        )
        account = judge(count, expected)
        self._check_processes(expected)
        self._check_journals(expected)
        if emitted.refused:
            self.notes.append(f"{emitted.refused:,} refused by emit")
        return replace(
            account,
            arrival_seconds=arrival_seconds,
            problems=(*self.problems, *account.problems),
            notes=tuple(self.notes),
        )

    def _check_processes(self, expected: Expectation) -> None:
        ended = sum(kept.ended for kept in (*self._workers, *self._relays))
        if ended:
            self.notes.append(f"{ended} workers or relays ended by themselves and were started again")
            if not expected.restarts:
                self.problems.append(f"{ended} workers or relays ended by themselves: {self._words}")

    def _check_journals(self, expected: Expectation) -> None:
        damaged = len(list(self.outbox.glob("damaged/*")))
        if damaged:
            self.notes.append(f"{damaged} damaged places in journals")
            if not expected.damage:
                self.problems.append(f"{damaged} places in journals were damaged, without a reason for it")

    def _waiting(self) -> int:
        try:
            return self.site.ledger().waiting
        except StoreUnavailableError:
            return -1

    def _lines(self) -> int:
        return sum(
            path.read_bytes().count(b"\n") if path.suffix != ".gz" else 1 << 40 for path in log_files(self.site.log)
        )

    def _keep(self, kept: list[_Kept], start: Callable[[], Child]) -> Child:
        kept.append(_Kept(start, start()))
        return kept[-1].child

    def _tend(self) -> None:
        for kept in (*self._workers, *self._relays):
            if not kept.child.running:
                kept.ended += 1
                self._words = " / ".join(kept.child.output.strip().splitlines()[-2:])[-400:]
                kept.child = kept.start()

    def _tell(self) -> None:
        emitted = count_emitted(self.directory, self._emitting)
        self.say(f"{self._doing or 'load'} · {emitted:,} emitted · {len(self.sink.taken):,} taken")

    def _story(self) -> str:
        outputs = [child.output[-400:] for child in (*self._webs, *self.workers())]
        return "\n".join(outputs)


def _children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()] if path.exists() else []


def children(pid: int) -> list[int]:
    """The ids of a process's children, whichever of its threads has started them."""
    found: list[int] = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # that thread has ended
            found += [int(child) for child in file.read_text().split()]
    return found
