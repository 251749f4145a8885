"""Commands of a user who may not read the outboxes, or whom Redis lets do little: no traceback, and no guess."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.other_user import keep_private
from tests.support.processes import Processes
from tests.support.redis_server import RedisServer
from tests.support.site import Site

#: Every command that looks at a site, with its exit code where the outboxes cannot be read.
COMMANDS = [
    ("status", 5),
    ("drain --timeout 1", 5),
    ("drain --timeout 1 --json", 5),
    ("relay --once --timeout 1", 5),
    ("doctor --quick", 1),
    ("explain shop.order.paid", 0),
    ("dead list segment", 0),
    ("dead list emit", 0),
    ("settings show", 0),
    ("settings check", 0),
    ("emit shop.order.paid --timeout 1", 5),
]


@pytest.fixture
def behind(site: Site) -> Iterator[Site]:
    """A site with an event in the store, and one in the outbox of a dead process."""
    assert site.emitting("tracker.emit('shop.order.paid')").wait() == 0
    site.leave_behind(1)
    yield site
    for path in (site.settings().outbox_directory, *site.settings().outbox_directory.rglob("*")):
        if not path.stat().st_mode & 0o700:
            path.chmod(0o700)


def as_other_user(site: Site, private: Path) -> Processes:
    program = (*keep_private(private), sys.executable, "-m", "dispatcher")
    return Processes(site.directory / "other", site.environ, program=program)


def run(processes: Processes, command: str) -> subprocess.CompletedProcess[str]:
    done = processes.run(*command.split())
    assert "Traceback" not in done.stdout + done.stderr, f"{command}:\n{done.stderr}"
    return done


@pytest.mark.parametrize(("command", "code"), COMMANDS)
def test_no_command_ends_in_a_traceback(behind: Site, command: str, code: int) -> None:
    done = run(as_other_user(behind, behind.settings().outbox_directory), command)

    assert done.returncode == code, done.stdout + done.stderr
    if code == 5:
        assert "Permission denied" in done.stderr
        assert str(behind.settings().outbox_directory) in done.stderr


def test_the_ledger_is_shown_without_the_outboxes(behind: Site) -> None:
    processes = as_other_user(behind, behind.settings().outbox_directory)

    screen, report = run(processes, "status").stdout, json.loads(run(processes, "status --json").stdout)

    assert "tracking_log         1" in screen
    assert "The sum closes" in screen
    assert "not shown: the outboxes in" in screen
    assert "no event waits" not in screen
    assert report["destinations"]["segment"]["queued"] == 1
    assert (report["in_outboxes"], report["outbox"]["waiting"]) == (None, None)
    assert "Permission denied" in report["outbox"]["problem"]


def test_one_outbox_that_cannot_be_read_is_named(behind: Site) -> None:
    left = behind.outboxes()[-1]
    processes = as_other_user(behind, left)

    status, drain = run(processes, "status"), run(processes, "drain --timeout 1")

    assert (status.returncode, drain.returncode) == (5, 1)
    assert f"more events may wait in {left.name}, which cannot be read" in status.stdout
    assert f"events in {left.name}, which cannot be read" in drain.stderr


def test_the_exporter_leaves_out_what_it_may_not_read(behind: Site) -> None:
    processes = as_other_user(behind, behind.settings().outbox_directory)
    exporter = processes.dispatcher("exporter", "--port", "0")
    exporter.wait_for_output("/metrics")
    address = exporter.output.split("http://")[1].split("/")[0]

    connection = http.client.HTTPConnection(address, timeout=60)
    connection.request("GET", "/metrics")
    answer = connection.getresponse()
    page = answer.read().decode()
    connection.close()
    processes.close()

    assert answer.status == 200
    assert 'dispatcher_events_accepted_total{destination="segment"} 1.0' in page
    assert "dispatcher_outbox_readable 0.0" in page
    assert "\ndispatcher_outbox_events " not in page


def test_a_relay_says_what_to_mend_and_goes_on(behind: Site) -> None:
    processes = as_other_user(behind, behind.settings().outbox_directory)
    relay = processes.dispatcher("relay")
    relay.wait_for_output("events stay in the outbox until this is mended: [Errno 13]")

    assert relay.stop() == 0
    assert "Traceback" not in relay.output


@pytest.mark.parametrize("rights", ["+@read", "+@read +@scripting"])
def test_a_redis_user_with_few_rights_gets_a_reason(site: Site, redis_server: RedisServer, rights: str) -> None:
    redis_server.call("ACL", "SETUSER", "few", "on", ">word", "~dispatcher:*", *rights.split())
    url = redis_server.url.replace("://", "://few:word@")
    site.environ["DISPATCHER_BROKER_URL"] = url

    for command in ("status", "drain --timeout 0.2", "relay --once --timeout 0.2", "doctor --quick", "dead list emit"):
        done = run(site.processes, command)
        assert done.returncode == 0 or "does not answer" not in done.stderr


def test_the_ledger_is_shown_to_a_redis_user_who_may_not_scan(site: Site, redis_server: RedisServer) -> None:
    assert site.emitting("tracker.emit('shop.order.paid')").wait() == 0
    rights = "+evalsha +script|load +hgetall +zcard +zrange +xrange +time"
    redis_server.call("ACL", "SETUSER", "few", "on", ">word", "~dispatcher:*", *rights.split())
    site.environ["DISPATCHER_BROKER_URL"] = redis_server.url.replace("://", "://few:word@")

    done = run(site.processes, "status")

    assert done.returncode == 0, done.stderr
    assert "The sum closes" in done.stdout
    assert "destinations that the settings do not name are not looked for" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    "mistake",
    ["[relay]\nlinger_second = 1\n", "[destinations.segment\n", 'strict = "perhaps"\nx = 1\n', "\udcff= 1"],
    ids=["a typo", "not TOML", "a wrong value", "not UTF-8"],
)
def test_status_shows_the_ledger_although_the_settings_are_wrong(site: Site, mistake: str) -> None:
    assert site.emitting("tracker.emit('shop.order.paid')").wait() == 0
    url = site.environ.pop("DISPATCHER_BROKER_URL")
    site.settings_file.write_bytes(f"broker_url = {url!r}\n{mistake}".encode(errors="surrogateescape"))

    shown, report = run(site.processes, "status"), run(site.processes, "status --json")

    assert (shown.returncode, report.returncode) == (3, 3)
    assert "The settings cannot be used" in shown.stdout
    assert "settings: " in shown.stderr
    found = json.loads(report.stdout)
    assert found["destinations"]["segment"]["queued"] == found["destinations"]["tracking_log"]["queued"] == 1
    assert found["settings_problems"]


def test_a_wrong_address_of_redis_stays_a_wrong_setting(site: Site) -> None:
    site.environ["DISPATCHER_BROKER_URL"] = "http://redis"

    done = run(site.processes, "status")

    assert (done.returncode, done.stdout) == (3, "")
    assert "DISPATCHER_BROKER_URL" in done.stderr
