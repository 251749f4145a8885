"""URLs of redis-py and of Celery: each connects a relay, a worker and the ledger to one server."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

import pytest

from tests.support.redis_server import RedisServer
from tests.support.secured_redis import SecuredRedis, find_tls_server
from tests.support.site import open_site

PASSWORD: Final = "p@s:s/w#r?d;%41&=+ \N{LATIN SMALL LETTER U WITH DIAERESIS}"
LOGIN: Final = f"odd:{quote(PASSWORD, safe='')}"
USERS: Final = f"user odd on #{hashlib.sha256(PASSWORD.encode()).hexdigest()} ~* &* +@all"

# The first of each are used by a whole site, the others by what connects in it.
OVER_TLS: Final = [
    "rediss://{login}@localhost:{port}?ssl_cert_reqs=required&ssl_ca_certs={ca}&virtual_host=3",
    "rediss://{login}@localhost:{port}/0?ssl_ca_certs={ca}&ssl_cert_reqs=CERT_REQUIRED",
    "rediss://{login}@localhost:{port}/0?ssl_cert_reqs=CERT_OPTIONAL&ssl_ca_certs={ca}",
    "rediss://{login}@localhost:{port}/0?ssl_cert_reqs=CERT_NONE",
    "REDISS://{login}@[::1]:{port}/0?ssl_cert_reqs=none",
    "rediss://{login}@127.0.0.1:{port}/0?ssl_ca_certs={ca}&ssl_check_hostname=False",
]
PLAIN: Final = [
    " redis://{login}@localhost:{port}/?db=4\r\n",
    "redis://{login}@127.0.0.1:{port}/2",
    "redis://[::1]:{port}//?username=odd&password={password}",
]
SOCKETS: Final = ["redis+socket://{path}?virtual_host=1", "unix://{path}?db=1", "unix://{path}"]

#: An app whose relay thread has put an event into the store connects to the broker, as a worker does.
CONNECT: Final = """
tracker.emit("shop.order.paid", {"n": 0})
assert dispatcher.flush(60)
from dispatcher.tasks.celery import app
with app.connection_for_read() as connection:
    connection.ensure_connection(max_retries=1)
    connection.default_channel.queue_declare("segment", passive=False)
"""


@dataclass
class Elsewhere:
    """A server that is reached by a URL of its own."""

    url: str


def deliver(directory: Path, url: str, *, whole: bool) -> None:
    """An event from an app's relay thread through a worker to the log, by processes that all have this URL.

    Args:
        directory: The site's.
        url: Of the server.
        whole: False: start no worker, and connect to its broker only.
    """
    with open_site(directory, Elsewhere(url)) as site:  # type: ignore[arg-type]
        if not whole:
            site.emitting(CONNECT).succeed()
            return
        worker = site.worker()
        site.emitting("tracker.emit('shop.order.paid', {'n': 0})\nassert dispatcher.flush(60)").succeed()
        site.wait_for_lines(1)
        site.wait_until_delivered()
        site.assert_ledger_closes()
        assert worker.stop(60) == 0


@pytest.mark.skipif(find_tls_server() is None, reason="no Redis with TLS is installed: apt-get install redis-tools")
@pytest.mark.parametrize("url", OVER_TLS)
def test_a_url_in_any_dialect_connects_every_part_over_tls(tmp_path: Path, url: str) -> None:
    with SecuredRedis(USERS, tls=True) as server:
        deliver(tmp_path, url.format(login=LOGIN, port=server.port, ca=server.authority), whole=url == OVER_TLS[0])


@pytest.mark.parametrize("url", PLAIN)
def test_a_url_in_any_dialect_connects_every_part(tmp_path: Path, url: str) -> None:
    with SecuredRedis(USERS, tls=False) as server:
        deliver(
            tmp_path,
            url.format(login=LOGIN, port=server.port, password=quote(PASSWORD, safe="")),
            whole=url == PLAIN[0],
        )


@pytest.mark.parametrize("url", SOCKETS)
def test_a_socket_in_any_dialect_connects_every_part(tmp_path: Path, url: str) -> None:
    with RedisServer() as server:
        deliver(tmp_path, url.format(path=server.socket), whole=url == SOCKETS[0])
