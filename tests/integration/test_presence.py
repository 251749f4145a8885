"""Which workers serve what, and since when the ledger counts: as `dispatcher status` says it."""

from __future__ import annotations

import json
import os
from typing import Any

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.store.keys import COUNTS, WORKERS
from dispatcher.store.packing import pack
from dispatcher.store.put import Put
from dispatcher.store.workers import ServingWorker, Workers
from tests.support.clock import Clock
from tests.support.open_store import OpenStore
from tests.support.redis_server import RedisServer
from tests.support.site import Site
from tests.support.waiting import wait_for

LOG, SEGMENT = "tracking_log", "segment"


def status(site: Site) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(site.processes.run("status", "--json").stdout)
    return found


def screen(site: Site) -> str:
    done = site.processes.run("status")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_status_says_which_worker_serves_what(site: Site) -> None:
    assert "segment: no worker serves it" in screen(site)
    worker = site.worker("-Q", LOG, "-n", "log@here")
    wait_for(lambda: site.counts(LOG).workers, what="the worker to say that it is there")

    text = screen(site)

    assert "worker log@here: tracking_log, settings read" in text
    assert "segment: no worker serves it" in text
    assert "tracking_log: no worker" not in text
    (found,) = status(site)["destinations"][LOG]["workers"]
    assert (found["name"], found["pid"] != os.getpid()) == ("log@here", True)

    # A worker that is stopped leaves at once, rather than when it has been silent for long.
    assert worker.stop() == 0
    assert "tracking_log: no worker serves it" in screen(site)


def test_a_worker_with_older_settings_than_the_files_is_named(site: Site) -> None:
    site.worker("-n", "all@here")
    wait_for(lambda: site.counts(LOG).workers, what="the worker to say that it is there")
    assert "worker all@here: all destinations, settings read" in screen(site)

    site.allow(["shop.*"])

    assert "all@here: all destinations, before they changed here: restart it" in screen(site)


def test_a_worker_that_is_silent_is_not_counted(redis_server: RedisServer) -> None:
    pool = RedisPool(redis_server.url, timeout_seconds=30)
    worker = ServingWorker(name="celery@a", pid=1, version="1", settings_ms=5)
    Workers(pool).announce([SEGMENT], worker)
    seconds = pool.execute("TIME")[0]
    server_ms = int(seconds) * 1000
    clock = Clock(server_ms / 1000)
    store = OpenStore(pool, clock=clock)

    (seen,) = store.counts([SEGMENT])[SEGMENT].workers or ()
    assert (seen.name, seen.pid, seen.settings_ms) == ("celery@a", 1, 5)
    clock.advance(40)
    assert store.counts([SEGMENT])[SEGMENT].workers == ()

    # What another version says of itself stops nobody.
    redis_server.call("ZADD", WORKERS.of(SEGMENT), server_ms, '{"name": 1', server_ms, '{"more": "x"}')
    clock.advance(-40)
    assert len(store.counts([SEGMENT])[SEGMENT].workers or ()) == 1
    Workers(pool).announce([SEGMENT], worker, leaves=True)
    assert store.counts([SEGMENT])[SEGMENT].workers == ()
    pool.close()


def test_the_ledger_says_since_when_it_counts(redis_server: RedisServer) -> None:
    pool, clock = RedisPool(redis_server.url, timeout_seconds=30), Clock()
    store = OpenStore(pool, clock=clock)

    def put(journal: str) -> None:
        store.put([Put(destination=SEGMENT, journal=journal, start=0, end=8, packed=pack([b"{}"]), count=1)])

    assert store.counts([SEGMENT])[SEGMENT].since_ms is None
    put("1-a")
    clock.advance(600)
    put("2-b")
    assert store.counts([SEGMENT])[SEGMENT].since_ms == 1_000_000_000

    redis_server.call("FLUSHALL")
    put("3-c")
    assert store.counts([SEGMENT])[SEGMENT].since_ms == 1_000_600_000
    # A ledger that is older than this knowledge does not begin anew.
    redis_server.call("HDEL", COUNTS.of(SEGMENT), "since")
    put("4-d")
    assert store.counts([SEGMENT])[SEGMENT].since_ms is None
    pool.close()
