"""Stage: where a case is played: a Redis, a scripted sink, web processes under load, relays and workers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from random import Random
from typing import Self, TypeVar

from tests.faults.account import Account
from tests.faults.arrivals import Arrivals
from tests.faults.count import SEGMENT, check
from tests.faults.expectation import Expectation
from tests.faults.latency import LogLatency
from tests.faults.numbering import BOTH
from tests.faults.page import TAGS
from tests.faults.places import log_files
from tests.faults.posting import KEY
from tests.faults.restarted_processes import RestartedProcesses, Workers
from tests.faults.sink import ScriptedSink
from tests.faults.web_processes import WebProcesses
from tests.support.ports import free_ports
from tests.support.redis_server import RedisServer
from tests.support.site import Site
from tests.support.waiting import wait_for

T = TypeVar("T")

Say = Callable[[str], None]

# Seconds between two checks of processes and counts while time passes.
_LOOK_SECONDS = 0.1
# So that a case takes seconds for what takes minutes in production.
_DESTINATION = {
    "RETRY__FIRST_SECONDS": "0.2",
    "RETRY__MAX_SECONDS": "2",
    "BREAKER__FIRST_SECONDS": "0.5",
    "BREAKER__MAX_SECONDS": "2",
}
# Pages of each web process, and events a second of each.
_PAGES, _PAGE_RATE = 6, 10
# A request has to end within its lease, of which it may take this part.
_TIMEOUT_OF_LEASE = 0.7


@dataclass
class Stage:
    """Everything of one case. ``with`` starts Redis and the sink; the case starts the rest.

    Args:
        directory: For all files.
        chance: The source of all random choices.
        short: Fewer strikes, for the tests.
        say: Called with what happens now.
        lease_seconds: How long a claim lasts. Short where a holder dies or a lease is to run out; where none is, a
            short one would only run out because the machine is busy.
    """

    directory: Path
    chance: Random
    short: bool = False
    say: Say = lambda _: None
    lease_seconds: float = 2
    #: How many events a long case emits; None leaves it to the case.
    events: int | None = None
    #: Whether the sink refuses one event in a thousand for good, which then must become a dead letter.
    expects_poison: bool = False
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stack = ExitStack()
        self._doing = ""
        self.redis = RedisServer()
        self.sink = ScriptedSink()
        self._sinks = {SEGMENT: self.sink}
        # How many pages each web process has.
        self._pages = 0

    def __enter__(self) -> Self:
        with self._stack:
            self._stack.enter_context(self.redis)
            self._stack.enter_context(self.sink)
            # The site needs nothing of its sink but the URL.
            self.site = Site(self.directory, self.redis, self.sink)  # type: ignore[arg-type]
            self.allow([BOTH])
            self._configure("tracking_log")
            self._configure(SEGMENT, **self._requests)
            self._stack.callback(self.site.close)
            self._stack = self._stack.pop_all()
        processes = self.site.processes
        self.webs = WebProcesses(processes, self.directory, self.chance)
        self.workers = Workers(processes, "worker", ready=" ready.", chance=self.chance)
        self.collectors = RestartedProcesses(processes, "collector", ready="Started server", chance=self.chance)
        self.relays = RestartedProcesses(processes, "relay", ready="relaying", chance=self.chance)
        self._arrivals = Arrivals(self.site, self._sinks)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def environ(self) -> dict[str, str]:
        """The variables of all processes that are started from now on."""
        return self.site.environ

    def enter(self, thing: AbstractContextManager[T]) -> T:
        """Enter a context of the case's own, which lasts until everything is accounted for."""
        return self._stack.enter_context(thing)

    def log_to(self, path: Path) -> None:
        """Have the tracking log elsewhere. Call it before the first worker starts."""
        self.site.log = path
        self.environ["DISPATCHER_DESTINATIONS__TRACKING_LOG__PATH"] = str(path)

    @property
    def outbox(self) -> Path:
        """The directory of all outboxes."""
        return self.site.settings().outbox_directory

    def output(self) -> str:
        """Everything that all processes have printed so far."""
        return "".join(path.read_text(errors="replace") for path in (self.directory / "output").glob("*.log"))

    def add_sink(self, name: str, type: str = "segment") -> ScriptedSink:
        """Add a destination like Segment, which gets the same events. Call it before the first process starts."""
        self._sinks[name] = sink = self.enter(ScriptedSink())
        self._configure(name, TYPE=type, HOST=sink.url, WRITE_KEY="a-key", **self._requests)
        self.allow([BOTH])
        return sink

    @property
    def _requests(self) -> dict[str, str]:
        return {"CONNECT_TIMEOUT_SECONDS": "0.4", "TIMEOUT_SECONDS": str(_TIMEOUT_OF_LEASE * self.lease_seconds)}

    def _configure(self, destination: str, **variables: str) -> None:
        variables |= {"LEASE_SECONDS": str(self.lease_seconds), **_DESTINATION}
        self.environ.update(
            {f"DISPATCHER_DESTINATIONS__{destination.upper()}__{key}": value for key, value in variables.items()}
        )

    def allow(self, events: list[str]) -> None:
        """Write the allowlists of all sinks."""
        others = [name for name in self._sinks if name != SEGMENT]
        self.site.allow(events, more="".join(f"[destinations.{name}]\nevents = {events!r}\n" for name in others))

    def follow_log(self) -> LogLatency:
        """Measure the log's latency from now on."""
        return self.enter(LogLatency(self.site.log))

    # The load and the faults.

    def load(self, webs: int = 2, *arguments: str, rate: float = 250, **environ: str) -> None:
        """Start web processes, and wait until events have arrived at both ends."""
        for _ in range(webs):
            self.webs.start(*arguments, rate=rate, **environ)
        wait_for(
            lambda: any(path.stat().st_size for path in log_files(self.site.log)) and self.sink.requests,
            what=lambda: f"the first events to arrive; {self._story()}",
        )

    def load_over_http(self, clients: int = 2, *arguments: str, rate: float = 150, impatience: float = 0.1) -> None:
        """Start a collector and processes that post to it, and wait until events have arrived at both ends.

        Args:
            rate: Posts a second of each of the two threads of a process.
            impatience: How often a client is gone before the answer, and sends again.
        """
        self.collector_port, self.metrics_port = free_ports(2)
        self.environ["DISPATCHER_COLLECTOR__METRICS_PORT"] = str(self.metrics_port)
        self.environ["DISPATCHER_SOURCES"] = json.dumps({"site": {"write_key": KEY, "kind": "server"}})
        self.collectors.start("--port", str(self.collector_port))
        posts = ("--collector", str(self.collector_port), "--impatience", str(impatience))
        self.load(clients, *posts, *arguments, rate=rate)

    def load_by_pages(self, *arguments: str, impatience: float = 0.1, handover_hours: float = 24) -> None:
        """Start a worker, a collector and pages that hand over what waits for their visitors, and remember it."""
        table = f"[destinations.{TAGS}]\ntype = 'google_tag_manager_web'\nevents = {[BOTH]}\nfields = ['k']\n"
        self.site.allow([BOTH], more=f"{table}handover_hours = {handover_hours}\n")
        self._configure(TAGS)
        self.environ["DISPATCHER_COLLECTOR__SECRET"] = "0123456789abcdef" * 4
        self._pages = _PAGES
        self.workers.start()
        # A mailbox has room for what a page emits in the longest outage.
        pages = ("--pages", "--threads", str(_PAGES), *arguments)
        self.load_over_http(2, *pages, rate=_PAGE_RATE, impatience=impatience)

    def go_on(self, least: float, most: float | None = None) -> None:
        """Let the load run for some seconds: ``least``, or a random time between the two."""
        deadline = time.monotonic() + (least if most is None else self.chance.uniform(least, most))
        while (left := deadline - time.monotonic()) > 0:
            for processes in (self.workers, self.relays, self.collectors):
                processes.restart_ended()
            self._tell()
            time.sleep(min(_LOOK_SECONDS, left))

    def strike(self, what: str, action: Callable[[], object], *, times: int = 5, pause: tuple[float, float]) -> None:
        """Do something several times, each time after a random pause."""
        strikes = min(times, 2) if self.short else times
        for number in range(strikes):
            self._doing = f"{what} {number + 1}/{strikes}"
            self.go_on(*pause)
            action()
        self.notes.append(f"{what}, {strikes} times" if strikes > 1 else what)

    def lose_last_seconds(self, *, pause: tuple[float, float]) -> None:
        """Four times, have Redis come back as it was a second before, as it may with appendfsync everysec."""
        copies = (self.directory / f"redis-copy-{number}" for number in count())

        def lose() -> None:
            copy = next(copies)
            self.redis.save_to(copy)
            self.go_on(1)
            self.redis.bring_back(copy)

        self.strike("last second lost", lose, times=4, pause=pause)
        self.go_on(1)

    def during(self, what: str, seconds: float) -> None:
        """Let a state last while the load goes on."""
        self._doing = what
        self.go_on(seconds / 2 if self.short else seconds)
        self._doing = ""

    def under_load(self, begin: Callable[[], object], what: str, seconds: float, end: Callable[[], object]) -> None:
        """Start a worker and the load, and let a state last from ``begin`` to ``end`` while they go on."""
        self.workers.start()
        self.load(2)
        begin()
        self.during(what, seconds)
        end()

    def go_on_until_emitted(self, what: str) -> None:
        """Let the load run until every web process has emitted all its events."""
        self._doing = what
        while self.webs.running:
            self.go_on(0.5)

    # The end.

    def end_load(self) -> None:
        """Have the web processes end normally, which may leave events in their outboxes."""
        self._doing = "the web processes end"
        self._tell()
        self.problems += self.webs.end()

    def finish(self, expected: Expectation) -> Account:
        """End the load, wait until everything has arrived or patience is exhausted, and account for it."""
        if self._pages:
            self._doing = "the pages emit nothing more"
            self.webs.end_emitting(self._pages)
        else:
            self.end_load()
        if not self.relays.running:
            self.relays.start()  # for the outboxes of killed processes
        emitted = self.webs.emitted()
        arrival_seconds = self.wait_until_arrived("the rest arrives", expected.patience_seconds)
        self.go_on(expected.quiet_seconds)
        if self._pages:
            self.end_load()
        counted = self._arrivals.count(emitted, poison=self.expects_poison)
        account = check(counted, expected)
        if counted.handed is not None:
            dead = f", {len(counted.dead_of_pages):,} dead" if counted.dead_of_pages else ""
            self.notes.append(f"{len(counted.handed):,} handed over{dead}")
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

    def wait_until_arrived(self, what: str, patience_seconds: float = 600) -> float:
        """Wait until everything emitted so far has arrived, or patience is exhausted. Returns the seconds."""
        self._doing = what
        emitted, began = self.webs.emitted(), time.monotonic()
        while time.monotonic() - began < patience_seconds and not self._arrivals.are_complete(emitted):
            self.go_on(0.2)
        return time.monotonic() - began

    def _check_processes(self, expected: Expectation) -> None:
        ended = self.workers.ended + self.relays.ended + self.collectors.ended
        if ended:
            self.notes.append(f"{ended} workers, relays or collectors ended by themselves and were started again")
            if not expected.restarts:
                words = self.workers.last_words or self.relays.last_words or self.collectors.last_words
                self.problems.append(f"{ended} workers, relays or collectors ended by themselves: {words}")

    def _check_journals(self, expected: Expectation) -> None:
        damaged = len(list(self.outbox.glob("damaged/*")))
        if damaged:
            self.notes.append(f"{damaged} damaged places in journals")
            if not expected.damage:
                self.problems.append(f"{damaged} places in journals were damaged, without a reason for it")

    def _tell(self) -> None:
        self.say(f"{self._doing or 'load'} · {self.webs.count():,} emitted · {len(self.sink.taken):,} taken")

    def _story(self) -> str:
        return "\n".join([self.webs.output(), *(child.output[-400:] for child in self.workers.running)])
