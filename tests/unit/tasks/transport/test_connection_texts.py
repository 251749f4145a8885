"""What Celery's logs, Flower and remote control show of a broker has no credential in it, whatever its URL is."""

from __future__ import annotations

import pytest

from dispatcher.tasks.transport.connection import Connection

URLS = [
    "redis://:hush@h:1/0",
    "redis://user:hush@h:1/0",
    "rediss://:hush@h:1/0?ssl_cert_reqs=required",
    "redis+socket://:hush@/run/x.sock?virtual_host=0",
    "sentinel://:hush@a:1/0;sentinel://:hush@b:1/0",
    "amqp://u:hush@h//;amqp://u:hush@h2//",
]


@pytest.mark.parametrize("url", URLS)
def test_what_is_shown_of_a_broker_has_no_password(url: str) -> None:
    options = {"sentinel_kwargs": {"password": "hush"}, "master_name": "m"}
    connection = Connection(url, transport_options=options)

    for text in (str(connection.info()), connection.as_uri(), repr(connection)):
        assert "hush" not in text
    assert "hush" in connection.as_uri(include_password=True), "what connects by it needs it"
