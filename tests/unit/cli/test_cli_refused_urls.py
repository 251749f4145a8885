"""A URL that would not connect is refused by ``settings check`` and by every command, in the same words."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner

from dispatcher.cli import main

REFUSED: Final = [
    "rediss://localhost/0?ssl_cert_reqs=perhaps",
    "rediss://localhost/0?ssl_ca_certs=ca.pem",
    "rediss://localhost/0?ssl_keyfile=/key.pem",
    "rediss://localhost/0?ssl_min_version=3",
    "redis://localhost/0?ssl_cert_reqs=none",
    "redis://localhost/0?visibility_timeout=3600",
    "redis://localhost/0?socket_timeout=5",
    "redis://localhost/0?global_keyprefix=x",
    "redis://localhost/0?unheard_of=1",
    "redis://localhost/events",
    "redis://localhost/-1",
    "redis://localhost/1?virtual_host=2",
    "redis://localhost:0/0",
    "redis://user@localhost/0",
    "redis://user:12#hush@localhost/0",
    "redis://user:12?hush=1@localhost/0",
    "redis://one/0;redis://two/0",
    "redis+socket://run/redis.sock",
    "redis+socket:///run/redis.sock?virtual_host=x",
    "sentinel://one,two/0",
    "sentinel://one:26379/0?master_name=m&ssl_cert_reqs=none",
    "valkey://localhost/0",
    "amqp://localhost//?heartbeat=10",
    "amqps://localhost//?ssl_cert_reqs=perhaps",
]
COMMANDS: Final = [
    *(("worker",), ("relay", "--once"), ("status",), ("up",), ("drain",), ("emit", "shop.order.paid")),
    *(("flower", "--basic-auth", "ops:word"), ("dead", "list", "segment")),
]


@pytest.mark.parametrize("url", REFUSED)
def test_a_url_that_would_not_connect_is_refused_by_every_command(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.execv", lambda *_: pytest.fail("it was started"))
    monkeypatch.setattr("os.execve", lambda *_: pytest.fail("it was started"))
    environ = {"DISPATCHER_BROKER_URL": url, "HOME": str(tmp_path)}
    if url.startswith("amqp"):
        environ["DISPATCHER_STORE_URL"] = "redis://localhost/0"
    checked = CliRunner().invoke(main, ["settings", "check"], env=environ)
    assert (checked.exit_code, "broker_url" in checked.output) == (1, True), checked.output
    assert "hush" not in checked.output
    line = checked.output.splitlines()[0]

    for command in COMMANDS:
        refused = CliRunner().invoke(main, command, env=environ)
        assert (refused.exit_code, line in refused.output) == (3, True), f"{command}: {refused.output}"
