"""Play: a site with every destination, events of which one in a hundred is bad, and their outcomes everywhere."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dispatcher.store.counts import Counts
from tests.support.redis_server import RedisServer
from tests.support.site import Site, open_site
from tests.support.tracking_lines import count_lines
from tests.support.waiting import wait_for
from tests.vendors.market import STALLS

#: One event in this many is bad.
POISON_EVERY = 100

# It includes bad events, both for vendors that check their own rules, and for vendors that answer 204 to everything, so
# that our destinations must check the rules.
_EMIT = f"""
people = [
    {{"user_id": n, "client_id": f"{{1_000_000_000 + n}}.{{1_700_000_000 + n}}", "session": f"{{n:032x}}",
      "app_instance_id": f"{{n:032x}}", "ip": f"192.0.2.{{n}}", "agent": "Mozilla/5.0",
      "email": f"learner{{n}}@example.org", "page": "https://example.org/cart"}}
    for n in range(1, 21)
]
count = int(sys.argv[1])
for n in range(count):
    with tracker.context("request", people[n % len(people)]):
        bad = n % {POISON_EVERY} == 50
        more = {{"_poison": 1, "note": "poison"}} if bad else {{}}
        print(tracker.emit("shop.order.paid", {{"n": n, "total": 9.5, **more}}), int(bad))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What became of the events at one destination.

    Args:
        counts: Its ledger.
        taken: How often each id was taken, by the stand-in's own count.
        good: The ids that had to be.
        bad: The ids that had to become dead letters.
    """

    counts: Counts
    taken: Mapping[str, int]
    good: frozenset[str]
    bad: frozenset[str]

    @property
    def problems(self) -> list[str]:
        """What differs from the expectation."""
        lost, again = self.good - self.taken.keys(), sum(self.taken.values()) - len(self.taken)
        checks = {
            "the ledger does not close": self.counts.closes,
            f"{self.counts.waiting} wait": self.counts.waiting == 0,
            f"{len(lost)} good events were not taken": not lost,
            f"{again} were taken again": not again,
            "bad events were taken": not self.bad & self.taken.keys(),
            f"{self.counts.delivered} are delivered of {len(self.good)}": self.counts.delivered == len(self.good),
            f"{self.counts.dead} are dead of {len(self.bad)}": self.counts.dead == len(self.bad),
            "some are dead for no reason": sum(self.counts.dead_by_reason.values()) == self.counts.dead,
        }
        return [text for text, holds in checks.items() if not holds]


def play(
    directory: Path, *, events: int, workers: int, patience: float, say: Callable[[str], None] = lambda _: None
) -> dict[str, Found]:
    """Emit, wait until nothing waits any more, and count at both ends.

    Args:
        directory: For all files.
        events: How many to emit.
        workers: How many worker processes.
        patience: Seconds after the last event until it is given up.
        say: Called with how far it is.
    """
    file = directory / "taken.json"
    with RedisServer() as redis, open_site(directory, redis) as site, _market(file) as urls:
        _configure(site, urls)
        for _ in range(workers):
            site.worker("--concurrency", "8")
        emitted = _emit(site, events)
        wait_for(lambda: _settled(site, events, say), patience, every=0.5, what=lambda: str(site.ledger()))
        ledger = site.ledger().destinations
    # The market has ended, and has written what it took.
    taken = json.loads(file.read_text())
    good = frozenset(event_id for event_id, bad in emitted.items() if not bad)
    bad = frozenset(emitted) - good
    nothing: frozenset[str] = frozenset()
    return {
        name: Found(
            counts=ledger[name],
            taken=taken[name],
            good=good if stall.refuses else good | bad,
            bad=bad if stall.refuses else nothing,
        )
        for name, stall in STALLS.items()
    }


def _configure(site: Site, urls: Mapping[str, str]) -> None:
    tables = {name: {"events": ["shop.order.*"], **stall.options(urls[name])} for name, stall in STALLS.items()}
    site.settings_file.write_text("".join(_toml(name, table) for name, table in tables.items()))
    for name in tables:
        # The site's own variables point to its Segment stub, and have short leases for tests with kills.
        for variable in [key for key in site.environ if key.startswith(f"DISPATCHER_DESTINATIONS__{name.upper()}__")]:
            del site.environ[variable]


def _toml(name: str, table: Mapping[str, Any]) -> str:
    return f"[destinations.{name}]\n" + "".join(f"{key} = {_inline(value)}\n" for key, value in table.items())


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_inline(one)}" for key, one in value.items()) + "}"
    return "[" + ", ".join(map(_inline, value)) + "]" if isinstance(value, list) else json.dumps(value)


def _emit(site: Site, events: int) -> dict[str, bool]:
    """The ids of the emitted events, and whether each is bad."""
    child = site.emitting(_EMIT, str(events), DISPATCHER_OUTBOX__EXIT_FLUSH_SECONDS="60")
    lines = child.succeed(300).splitlines()
    emitted = {event_id: bad == "1" for event_id, bad in (line.split() for line in lines)}
    assert len(emitted) == events, f"{len(emitted)} ids of {events} events"
    return emitted


def _settled(site: Site, events: int, say: Callable[[str], None]) -> bool:
    ledger = site.ledger()
    say(
        " · ".join(
            f"{name} {counts.delivered + counts.dead:,}"
            for name, counts in ledger.destinations.items()
            if name in STALLS
        )
    )
    return (
        ledger.waiting == 0
        and all(ledger.destinations[name].accepted == events for name in STALLS)
        and count_lines(site.log) == events
    )


@contextmanager
def _market(file: Path) -> Iterator[Mapping[str, str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.vendors.market", str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())
        process.stdin.close()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
