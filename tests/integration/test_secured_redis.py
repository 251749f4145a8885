"""Redis behind TLS with least-privilege users: the whole path, with the ACL file of the documentation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from kombu import Connection
from redis.exceptions import ConnectionError as RedisConnectionError

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.connections.urls import kombu_url
from dispatcher.errors import StoreUnavailableError
from dispatcher.local.segment_stub import SegmentStub
from dispatcher.store import keys
from dispatcher.store.batches import BatchStore
from dispatcher.store.dead_letter import DeadLetterFilter
from dispatcher.store.dead_letters import DeadLetters
from tests.support.dead_letters import add_dead_letters, an_event
from tests.support.deliveries import LOG, SEGMENT
from tests.support.secured_redis import SecuredRedis, documented_users, find_tls_server, knows_tls
from tests.support.server_programs import program_of
from tests.support.site import open_site
from tests.support.tracking_lines import assert_each_once, read_lines
from tests.support.waiting import wait_for


@dataclass
class Secured:
    """The Redis of a site, reached as its administrator."""

    server: SecuredRedis

    @property
    def url(self) -> str:
        return self.server.url("admin", "admin-password")

    def client(self) -> object:
        return self.server.client()


@pytest.fixture
def secured(request: pytest.FixtureRequest) -> Iterator[SecuredRedis]:
    """A Redis with TLS, if it was built with it."""
    program = program_of(request)
    assert program is not None
    with SecuredRedis(documented_users(), tls=knows_tls(program), program=program) as server:
        yield server


def as_user(server: SecuredRedis, user: str) -> dict[str, str]:
    """The variables of a process that logs in as this user."""
    return {"DISPATCHER_BROKER_URL": server.url(user, f"{user}-password")}


@pytest.mark.every_server
def test_each_part_works_with_the_documented_rights_only(secured: SecuredRedis, tmp_path: Path) -> None:
    with open_site(tmp_path, Secured(secured)) as site:  # type: ignore[arg-type]
        port = site.segment_stub.port
        site.segment_stub.stop()
        worker = site.worker(**as_user(secured, "worker"))
        site.emitting(
            "for n in range(300): tracker.emit('shop.order.paid', {'n': n})\n"
            "tracker.emit('shop.order.paid', {'n': 300, 'x': 'x' * 40_000})\n"
            "assert dispatcher.flush(60)\n",
            **as_user(secured, "relay"),
        ).succeed()
        site.wait_for_lines(301)
        wait_for(lambda: site.counts(SEGMENT).retried > 0, what=site.ledger)
        with SegmentStub(port=port, file=tmp_path / "segment.jsonl"):
            site.wait_until_delivered()

            status, operator = as_user(secured, "status"), as_user(secured, "operator")
            site.processes.dispatcher("status", **status).succeed()
            assert "oversized" in site.processes.dispatcher("dead", "list", SEGMENT, **status).succeed()
            site.processes.dispatcher("dead", "replay", SEGMENT, **operator).succeed()
            site.processes.dispatcher("replay", "--from", str(site.log), "--to", SEGMENT, **operator).succeed()
            site.wait_until_delivered()
        assert worker.stop(60) == 0
        # Clients tell Redis their name, which no process needs to do.
        assert [one for one in secured.denied() if "command client" not in one] == []
        assert_each_once(site.log, 301)
        assert {line["properties"]["n"] for line in read_lines(tmp_path / "segment.jsonl")} == set(range(300))
        assert site.counts(SEGMENT).dead >= 1
        site.assert_ledger_closes()


@pytest.mark.every_server
def test_a_forbidden_command_fails_with_an_error_about_rights(secured: SecuredRedis) -> None:
    for user, command in (
        ("relay", ("HGETALL", keys.COUNTS.of(LOG))),
        ("relay", ("FLUSHALL",)),
        ("worker", ("CONFIG", "GET", "*")),
        ("worker", ("GET", "somebody:elses")),
        ("status", ("LPUSH", LOG, "x")),
        ("status", ("HSET", keys.COUNTS.of(LOG), "accepted", "0")),
        ("operator", ("FLUSHALL",)),
    ):
        pool = RedisPool(secured.url(user, f"{user}-password"), timeout_seconds=30)
        with pytest.raises(StoreUnavailableError, match="does not let its user do that"):
            pool.execute(*command)
        pool.close()
    with pytest.raises(StoreUnavailableError, match="refused the login"):
        RedisPool(secured.url("relay", "wrong"), timeout_seconds=30).execute("PING")


@pytest.mark.every_server
def test_a_user_who_may_not_read_dead_letters_sees_the_ledger(request: pytest.FixtureRequest) -> None:
    program = program_of(request)
    users = documented_users().replace(" +xrange +xrevrange +info", " +info")
    assert users != documented_users()
    with SecuredRedis(users, tls=program is None or knows_tls(program), program=program) as server:
        admin, status = (
            RedisPool(server.url(user, f"{user}-password"), timeout_seconds=30) for user in ("admin", "status")
        )
        add_dead_letters(BatchStore(admin), an_event(1))
        counts = BatchStore(status).counts([SEGMENT])[SEGMENT]
        assert (counts.dead, counts.closes, counts.dead_oldest_ms) == (1, True, None)
        assert BatchStore(admin).counts([SEGMENT])[SEGMENT].dead_oldest_ms is not None
        with pytest.raises(StoreUnavailableError, match="does not let its user do that"):
            next(iter(DeadLetters(status).select(SEGMENT, DeadLetterFilter())))
        admin.close()
        status.close()


@pytest.mark.skipif(find_tls_server() is None, reason="no Redis with TLS is installed: apt-get install redis-tools")
def test_certificates_and_host_names_are_verified_by_the_store_and_by_workers(tmp_path: Path) -> None:
    another = tmp_path / "another.pem"
    trustme.CA().cert_pem.write_to_path(str(another))
    with SecuredRedis(documented_users(), tls=True) as server:
        wrong = {
            "an authority that did not sign it": server.url("worker", "worker-password", authority=another),
            "a host that it is not for": server.url("worker", "worker-password", host="127.0.0.1"),
            "the system's authorities": server.url("worker", "worker-password").partition("?")[0],
        }
        for what, url in wrong.items():
            with pytest.raises(StoreUnavailableError, match="certificate verify failed"):
                RedisPool(url, timeout_seconds=30).execute("PING")
            with pytest.raises(RedisConnectionError, match="certificate verify failed"):
                connect_as_a_worker(url)
            assert what
        connect_as_a_worker(server.url("worker", "worker-password"))


def connect_as_a_worker(url: str) -> None:
    """Open and close a connection to the broker as a worker does."""
    with Connection(kombu_url(url)) as connection:
        connection.connect()
