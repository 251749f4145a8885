"""One event kills every worker that takes it: it is found and dead-lettered, and all others are delivered."""

from __future__ import annotations

import json
import time

import pytest

from dispatcher.store import keys
from tests.support.processes import Child
from tests.support.site import Site
from tests.support.tracking_lines import count_lines, tally
from tests.support.waiting import wait_for

NAME = "poisonous"
EVENTS, POISON = 30, 17
LEASE_SECONDS = 1.0


# Longer than the test takes.
HANG_SECONDS = 3600


def put_events(site: Site, effect: str) -> None:
    """Three batches in the store, with the poisonous event in the middle of the second."""
    log = site.directory / "poisonous.log"
    site.allow(
        ["nothing.*"],
        more=f'[destinations.{NAME}]\ntype = "tests.support.poisonous:Poisonous"\nevents = ["shop.*"]\n'
        f'path = "{log}"\neffect = "{effect}"\npoison = {POISON}\nhang_seconds = {HANG_SECONDS}\n'
        f"batch_events = 10\nlease_seconds = {LEASE_SECONDS}\nretry = {{ first_seconds = 0.1 }}\n",
    )
    code = f"for n in range({EVENTS}): tracker.emit('shop.order.paid', {{'n': n}})\nassert dispatcher.flush(60)"
    site.emitting(code).succeed()


def wait_until_settled(site: Site, worker: Child, *arguments: str, timeout: float = 120.0) -> Child:
    """Wait until everything is delivered, and replace each worker that dies. Returns the one that lives."""
    deadline = time.monotonic() + timeout
    while site.counts(NAME).waiting:
        assert time.monotonic() < deadline, f"{site.counts(NAME)}\n{worker.output[-2000:]}"
        if not worker.running:
            worker = site.worker("--no-restart", *arguments)
        time.sleep(0.05)
    return worker


def assert_isolated(site: Site, *, lines: int) -> None:
    """Check that the poisonous event is a dead letter, and that every other one has one line."""
    counts = site.counts(NAME)
    assert (counts.delivered, counts.dead_by_reason) == (EVENTS - 1, {"worker_lost": 1})
    site.assert_ledger_closes()
    found = tally(site.directory / "poisonous.log")
    assert (sorted(found), set(found.values())) == ([n for n in range(EVENTS) if n != POISON or lines == EVENTS], {1})
    with site.redis.client() as client:
        ((_, letter),) = client.xrange(keys.DEAD.of(NAME))
    assert json.loads(letter[b"event"])["data"] == {"n": POISON}


@pytest.mark.parametrize(("effect", "pool"), [("kills before", "threads"), ("kills after", "prefork")])
def test_an_event_that_kills_workers_is_dead_and_the_others_are_delivered(site: Site, effect: str, pool: str) -> None:
    put_events(site, effect)
    worker = wait_until_settled(site, site.worker("--no-restart", "-P", pool, "-c", "2"), "-P", pool, "-c", "2")
    # If it was killed after the append, the poisonous event's line was written too.
    assert_isolated(site, lines=EVENTS if effect == "kills after" else EVENTS - 1)
    assert worker.running


def test_an_event_that_hangs_workers_is_dead_and_the_others_are_delivered(site: Site) -> None:
    put_events(site, "hangs")
    worker = wait_until_settled(site, site.worker("--no-restart", "-P", "threads", "-c", "20"))
    assert_isolated(site, lines=EVENTS - 1)
    assert worker.running


def test_the_others_are_delivered_before_the_poisonous_event_is_found(site: Site) -> None:
    put_events(site, "kills before")
    worker = site.worker("--no-restart", "-P", "prefork", "-c", "1")
    wait_for(lambda: count_lines(site.directory / "poisonous.log") >= 20, what="both other batches")
    assert site.counts(NAME).dead == 0
    assert worker.running
