"""The command line as an operator uses it: real processes, exit codes, Ctrl-C, and nothing left behind."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import pytest
from click.testing import CliRunner

from dispatcher.cli.main import main
from dispatcher.outbox import find_outboxes
from tests.support.site import Site
from tests.support.tracking_lines import count_lines, read_lines
from tests.support.waiting import wait_for

LOG, SEGMENT = "tracking_log", "segment"


def run(site: Site, *arguments: str, code: int = 0, stdin: str = "") -> str:
    """Run a command, and return its standard output. It must exit with ``code``, and without a traceback."""
    done = site.processes.run(*arguments, stdin=stdin)
    assert done.returncode == code, f"{arguments} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout if code == 0 or done.stdout else done.stderr


def status(site: Site) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(site, "status", "--json"))
    return found


# worker, relay, flower


@pytest.mark.parametrize("app", ["tasks", "dispatcher.tasks"])
def test_plain_celery_runs_the_worker_too(site: Site, app: str) -> None:
    worker = site.processes.start(sys.executable, "-m", "celery", "-A", app, "worker", "--loglevel", "INFO")
    worker.wait_for_output(" ready.")
    run(site, "emit", "shop.order.paid", "--data", '{"n": 0}')
    site.wait_for_lines(1)
    assert worker.stop() == 0
    assert "Traceback" not in worker.output


def test_a_worker_serves_only_the_given_queues(site: Site) -> None:
    site.worker("-Q", SEGMENT)
    run(site, "emit", "shop.order.paid", "--data", '{"n": 0}')
    wait_for(lambda: site.counts(SEGMENT).delivered == 1)
    assert (site.counts(LOG).queued, count_lines(site.log)) == (1, 0)


def test_a_worker_for_an_unknown_destination_does_not_start(site: Site) -> None:
    said = run(site, "worker", "-Q", "tracking-log", code=3)
    assert "tracking-log" in said
    assert "tracking_log" in said


def test_relay_once_empties_dead_outboxes_and_says_when_it_cannot(site: Site) -> None:
    # Otherwise the outbox stays until the event is delivered.
    site.environ["DISPATCHER_OUTBOX__KEEP_BYTES"] = "0"
    site.leave_behind(1)
    site.redis.stop()
    run(site, "relay", "--once", "--timeout", "0.3", code=1)
    assert len(find_outboxes(site.settings().outbox_directory)) == 1
    site.redis.start()
    run(site, "relay", "--once")
    assert find_outboxes(site.settings().outbox_directory) == []
    assert site.counts(LOG).queued == 1


def test_flower_does_not_start_without_a_login(site: Site) -> None:
    assert "basic-auth" in run(site, "flower", code=2)
    assert "user:password" in run(site, "flower", "--basic-auth", "nonsense", code=2)


# emit


def test_emit_prints_the_id_and_puts_the_event(site: Site) -> None:
    event_id = run(site, "emit", "shop.order.paid", "--data", '{"n": 0}').strip()
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", event_id)
    assert site.counts(LOG).queued == 1
    answer = json.loads(run(site, "emit", "shop.order.paid", "--data", "-", "--json", stdin='{"n": 1}'))
    assert answer["put"] is True
    assert len(answer["id"]) == 36
    assert site.counts(LOG).queued == 2


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("emit",), 2, "NAME"),
        (("emit", "a.b", "--data", "{"), 2, "is not JSON"),
        (("emit", "a.b", "--data", "[1]"), 2, "must be a JSON object"),
        (("emit", "a.b", "--context", "7"), 2, "must be a JSON object"),
        (("emit", ""), 1, "is empty"),
        (("emit", "a\nb"), 1, "line break"),
        (("emit", "a.b", "--from", "/etc/hostname"), 2, "either"),
        (("emit", "--from", "/no/such/file"), 2, "does not exist"),
        (("nonsense",), 2, "No such command"),
    ],
)
def test_a_wrong_call_ends_with_a_message_and_an_exit_code(
    in_site: Site, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == code, done.output
    assert isinstance(done.exception, SystemExit), "it would show a traceback"
    assert said in done.stderr
    assert in_site.counts(LOG).accepted == 0


def test_emit_from_a_file_keeps_ids_times_and_contexts_and_names_bad_lines(site: Site) -> None:
    source = site.directory / "recorded.jsonl"
    good = {
        "id": "0199a0b4-7e5c-7d3e-8f3a-0123456789ab",
        "name": "shop.order.paid",
        "timestamp": "2026-01-31T12:00:00.250000+00:00",
        "context": {"user_id": 7, "path": "/pay"},
        "data": {"n": 0},
    }
    lines = [
        json.dumps(good),
        "",
        "not JSON",
        '{"data": {}}',
        json.dumps({"name": "shop.order.paid", "data": {"n": 1}}),
        json.dumps({"name": "shop.order.paid", "data": [2]}),
        json.dumps({"name": "shop.order.paid", "timestamp": "yesterday"}),
        '{"name": "shop.order.paid", "data": {"n": NaN}}',
    ]
    source.write_text("\n".join(lines))
    done = site.processes.run("emit", "--from", str(source), "--json")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert json.loads(done.stdout) == {"emitted": 2, "failed": 5, "put": True}
    for number in (3, 4, 6, 7, 8):
        assert f"recorded.jsonl:{number}:" in "".join(done.stderr.split("\n"))
    site.worker("-Q", f"{LOG},{SEGMENT}")
    site.wait_until_delivered()
    [old] = [line for line in read_lines(site.log) if line["event"] == {"n": 0}]
    assert old["time"] == "2026-01-31T12:00:00.250000+00:00"
    assert old["context"]["user_id"] == 7
    messages = {message["messageId"]: message for message in read_lines(site.directory / "segment.jsonl")}
    assert len(messages) == 2
    assert messages[good["id"]]["timestamp"].startswith("2026-01-31T12:00:00.25")


def test_emit_while_redis_is_down_says_so_and_keeps_the_event(site: Site) -> None:
    site.redis.stop()
    site.environ["DISPATCHER_OUTBOX__EXIT_FLUSH_SECONDS"] = "0.2"
    done = site.processes.run("emit", "shop.order.paid", "--timeout", "0.2")
    assert done.returncode == 0
    assert "waits in the outbox" in done.stderr
    site.redis.start()
    run(site, "relay", "--once")
    assert site.counts(LOG).queued == 1


# status, drain


def test_status_shows_the_ledger_and_says_when_redis_does_not_answer(site: Site) -> None:
    run(site, "emit", "shop.basket.seen")
    found = status(site)
    assert found["destinations"][LOG]["queued"] == 1
    assert found["destinations"][SEGMENT]["filtered"] == 1
    assert found["waiting"] == 1
    assert all(destination["closes"] for destination in found["destinations"].values())
    assert LOG in run(site, "status")
    site.redis.stop()
    done = site.processes.run("status")
    assert (done.returncode, "look at DISPATCHER_BROKER_URL" in done.stderr) == (4, True)
    assert run(site, "status", "--json", code=4)


def test_status_counts_events_waiting_in_outboxes(site: Site) -> None:
    site.leave_behind(5)
    found = status(site)
    assert found["in_outboxes"] == 5
    [outbox] = found["outboxes"]
    assert (outbox["waiting"], outbox["alive"]) == (5, False)


def test_drain_exits_0_once_all_is_delivered_and_1_after_its_timeout(site: Site) -> None:
    run(site, "drain", "--timeout", "5")
    run(site, "emit", "shop.order.paid", "--data", '{"n": 0}')
    assert "1 for tracking_log" in run(site, "drain", "--timeout", "0.3", code=1)
    drain = site.processes.dispatcher("drain", "--timeout", "20")
    site.worker()
    drain.succeed()
    assert count_lines(site.log) == 1
    site.redis.stop()
    assert "does not answer" in run(site, "drain", "--timeout", "0.3", code=1)


# settings, explain, help


def test_wrong_settings_stop_every_command_and_all_mistakes_are_named(site: Site) -> None:
    site.settings_file.write_text("[outbox]\nmax_byts = 1\n[destinations.segment]\nevents = 7\n")
    for arguments in (("status",), ("worker",), ("settings", "check"), ("up",), ("emit", "a")):
        done = site.processes.run(*arguments)
        # `check` reports them as its result; the others cannot work with them.
        assert done.returncode == (1 if "check" in arguments else 3), (arguments, done.stdout, done.stderr)
        assert "max_byts" in done.stderr + done.stdout
        assert "destinations.segment.events" in done.stderr + done.stdout
        assert "Traceback" not in done.stderr


def test_the_settings_can_be_checked_shown_and_explained(site: Site) -> None:
    run(site, "settings", "check")
    shown = run(site, "settings", "show")
    assert "a-key" not in shown
    assert "shop.order.*" in run(site, "explain", "shop.order.paid")
    assert run(site, "explain", "shop.basket.seen")


@pytest.mark.parametrize(
    "command",
    ["", "up", "worker", "relay", "flower", "emit", "explain", "status", "drain", "settings", "segment-stub", "sink"],
)
def test_every_command_has_help(command: str) -> None:
    done = CliRunner().invoke(main, [*command.split(), "--help"])
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: ")


def test_the_version_is_printed(site: Site) -> None:
    import dispatcher

    assert dispatcher.__version__ in run(site, "--version")
