"""Several Redis servers with a sentinel: a failover under load."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.errors import StoreUnavailableError
from tests.support.deliveries import LOG
from tests.support.sentinel import SentinelServers
from tests.support.site import Site, open_site
from tests.support.tracking_lines import assert_each_once, read_lines
from tests.support.waiting import wait_for


@pytest.fixture
def servers() -> Iterator[SentinelServers]:
    with SentinelServers() as servers:
        yield servers


@pytest.fixture
def sentinel_site(tmp_path: Path, servers: SentinelServers) -> Iterator[Site]:
    """A site whose store and broker are behind a sentinel."""
    with open_site(tmp_path, servers) as site:  # type: ignore[arg-type]
        yield site


def test_the_pool_finds_the_new_primary_and_repeats_no_command(servers: SentinelServers) -> None:
    pool = RedisPool(servers.url, timeout_seconds=2)
    assert pool.execute("INCR", "n") == 1
    # The first sentinel of the URL does not exist, which did not matter.
    before = servers.kill_primary()
    with pytest.raises(StoreUnavailableError, match="sentinel://127"):
        pool.execute("INCR", "n")
    servers.wait_for_another(before)

    def writes() -> bool:
        try:
            return bool(pool.execute("SET", "after", "1"))
        except StoreUnavailableError:
            return False

    wait_for(writes, 20, what="the pool to find the new primary")
    pool.close()


def test_a_failover_that_loses_acknowledged_writes_loses_no_event(
    sentinel_site: Site, servers: SentinelServers
) -> None:
    site = sentinel_site
    worker = site.worker()
    child = site.emitting(
        "for n in range(600):\n"
        "    tracker.emit('shop.order.paid', {'n': n})\n"
        "    if n in (200, 400):\n"
        "        while not os.path.exists(sys.argv[1] + str(n)): time.sleep(0.02)\n"
        "while not os.path.exists(sys.argv[1] + 'end'): time.sleep(0.02)\n"
        "assert dispatcher.flush(20)\n",
        str(site.directory / "go"),
    )
    site.wait_for_lines(200, timeout=60)
    servers.cut_replication()
    (site.directory / "go200").touch()
    # The old primary knows them as put, delivered and settled. The new one knows nothing of them.
    site.wait_for_lines(400, timeout=60)

    before = servers.kill_primary()
    servers.thaw()
    servers.wait_for_another(before)
    (site.directory / "go400").touch()

    site.wait_for_lines(600, timeout=90)
    wait_for(lambda: site.counts(LOG).delivered >= 600, 90, what=site.ledger)
    (site.directory / "goend").touch()
    assert "has lost what was put" in child.succeed(timeout=60)
    site.wait_until_delivered(timeout=90)
    assert_each_once(site.log, 600)
    assert {message["properties"]["n"] for message in read_lines(site.directory / "segment.jsonl")} == set(range(600))
    site.assert_ledger_closes()
    assert worker.running, worker.output
    assert worker.stop(60) == 0
