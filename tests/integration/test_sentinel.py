"""Several Redis servers with a sentinel: a failover under load."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.errors import StoreUnavailableError
from tests.support.failover import assert_nothing_is_lost
from tests.support.sentinel import SentinelServers
from tests.support.site import Site, open_site
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

    wait_for(writes, what="the pool to find the new primary")
    pool.close()


def test_a_failover_that_loses_acknowledged_writes_loses_no_event(
    sentinel_site: Site, servers: SentinelServers
) -> None:
    def fail_over() -> None:
        before = servers.kill_primary()
        servers.thaw()
        servers.wait_for_another(before)

    assert_nothing_is_lost(sentinel_site, cut_replication=servers.cut_replication, fail_over=fail_over)
