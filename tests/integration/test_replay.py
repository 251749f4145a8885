"""``dispatcher replay``: from the tracking log to Segment again, whatever happens in between."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner, Result

from dispatcher.cli import main
from dispatcher.edx_log.render import renderer
from dispatcher.event import Event, encode
from dispatcher.replay import Filter, LineError, Replay, ReplayError, Source
from dispatcher.store import keys
from tests.support.deliveries import LOG, SEGMENT, take_all
from tests.support.edx_contexts import BROWSER, MOBILE, REQUEST
from tests.support.json_lines import read_whole_lines
from tests.support.site import Site
from tests.support.tracking_lines import read_lines
from tests.support.waiting import wait_for

EVERYTHING = Filter(unlisted=True)
EMITTED = [
    ("shop.order.paid", {"total": 12.5, "é": "€"}, REQUEST),
    ("shop.order.seen", {"deep": [1, {"a": None}]}, BROWSER),
    ("shop.order.form", "input_1=x&y=", BROWSER),
    ("shop.order.none", {}, {}),
    ("edx.bi.app.opened", {"category": "x"}, {key: MOBILE[key] for key in MOBILE.keys() - {"timestamp"}}),
]


def a_line(number: int, name: str = "shop.order.paid", *, ids: bool = True) -> bytes:
    """A line of the log with its own time and id."""
    moment = datetime(2026, 3, 4, 5, tzinfo=UTC) + timedelta(seconds=number, microseconds=1)
    one = Event(id=str(UUID(int=number)), name=name, timestamp=moment, data={"n": number}, context={"user_id": 7})
    return renderer("edx", ids=ids)(encode(one)) + b"\n"


def write_log(path: Path, count: int) -> Path:
    path.write_bytes(b"".join(a_line(number) for number in range(count)))
    return path


def run(*arguments: str, stdin: bytes = b"") -> Result:
    return CliRunner().invoke(main, ["replay", *arguments], input=stdin, catch_exceptions=False)


def numbers(site: Site) -> Counter[int]:
    return Counter(one["data"]["n"] for one in take_all(site, SEGMENT))


def replay(site: Site, log: Path, wanted: Filter = EVERYTHING, **options: Any) -> list[LineError]:
    process = Replay(site.settings(), SEGMENT, wanted, **{"rate": 1e6, **options})
    try:
        return [error for error in process.run(Source(log)) if error is not None]
    finally:
        process.close()


def test_a_replay_sends_segment_the_same_messages_as_the_first_emit(site: Site) -> None:
    code = """
for name, data, ctx in EMITTED:
    with tracker.context("request", ctx):
        tracker.emit(name, data)
"""
    sent = site.directory / "segment.jsonl"
    site.emitting(f"EMITTED = {EMITTED!r}\n{code}").succeed()
    site.worker()
    site.wait_until_delivered()
    first = {message["messageId"]: message for message in read_lines(sent)}
    assert len(first) == 5

    sent.write_text("")
    assert replay(site, site.log, Filter()) == []
    wait_for(lambda: len(read_whole_lines(sent)) >= 5, what=site.ledger)
    again = {message["messageId"]: message for message in read_whole_lines(sent)}

    unlike = {"sentAt", "receivedAt"}
    assert {key: message.keys() - unlike for key, message in again.items()} == {
        key: message.keys() - unlike for key, message in first.items()
    }
    for message_id, message in again.items():
        assert {key: value for key, value in message.items() if key not in unlike} == {
            key: value for key, value in first[message_id].items() if key not in unlike
        }
    site.assert_ledger_closes()


def test_a_replay_sends_only_events_that_match_the_allowlist_and_the_filter(in_site: Site, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(
        a_line(0)
        + a_line(1, "shop.basket.seen")
        + a_line(2, "shop.order.cancelled")
        + a_line(3, "edx.bi.page.seen")
        + a_line(3000)
    )
    counted = json.loads(run("--from", str(log), "--to", SEGMENT, "--dry-run", "--json").stdout)
    assert counted["by_name"] == {"shop.order.paid": 2, "shop.order.cancelled": 1, "edx.bi.page.seen": 1}
    assert in_site.counts(SEGMENT).accepted == 0

    arguments = ("--from", str(log), "--to", SEGMENT, "--events", "shop.*", "--events", "!shop.order.cancelled")
    assert run(*arguments, "--until", "2026-03-04T05:30").exit_code == 0
    assert numbers(in_site) == Counter([0])
    assert run(*arguments, "--since", "2026-03-04T07:30:00+0200").exit_code == 0
    assert numbers(in_site) == Counter([3000])
    assert run(*arguments, "--all").exit_code == 0
    assert numbers(in_site) == Counter([0, 1, 3000])

    in_site.allow(["shop.*"], more="internal = false")
    assert run("--from", str(log), "--to", SEGMENT, "--all").exit_code == 0
    assert numbers(in_site) == Counter([0, 1, 2, 3000]), "what is internal stays so"
    in_site.assert_ledger_closes()


def test_events_that_the_vendor_is_too_late_for_are_left_out(in_site: Site, tmp_path: Path) -> None:
    in_site.allow(["shop.*"], more='[destinations.ads]\ntype = "google_analytics"\nevents = ["shop.*"]\n')
    fresh = datetime.now(UTC) - timedelta(hours=71)
    event = Event(id=str(UUID(int=9)), name="shop.order.paid", timestamp=fresh, data={"n": 9}, context={})
    log = tmp_path / "log"
    log.write_bytes(a_line(1) + renderer("edx", ids=True)(encode(event)) + b"\n" + a_line(2, "edx.bi.page.seen"))
    arguments = ("--from", str(log), "--to", "ads")

    counted = run(*arguments, "--dry-run", "--json")
    assert {key: json.loads(counted.stdout)[key] for key in ("chosen", "too_old")} == {"chosen": 1, "too_old": 1}
    assert "left out: 1 event" in run(*arguments, "--dry-run").stderr
    assert json.loads(run(*arguments, "--any-age", "--dry-run", "--json").stdout)["chosen"] == 2


def test_a_second_run_sends_only_new_lines(in_site: Site, tmp_path: Path) -> None:
    log = write_log(tmp_path / "tracking.log", 250)
    arguments = ("--to", SEGMENT, "--rate", "1000000")
    assert "250 of 250 lines" in run("--from", str(log), *arguments).stdout
    assert len(take_all(in_site, SEGMENT)) == 250

    assert "0 of 0 lines" in run("--from", str(log), *arguments).stdout
    with log.open("ab") as more:
        more.write(b"".join(a_line(number) for number in range(250, 260)))
    rotated = tmp_path / "tracking.log-20260101.gz"
    rotated.write_bytes(gzip.compress(log.read_bytes()))
    done = run("--from", str(rotated), *arguments)
    assert "10 of 10 lines" in done.stdout
    assert "bytes were replayed before" in done.stdout
    assert numbers(in_site) == Counter(range(250, 260))

    assert json.loads(run("--from", str(log), *arguments, "--run", "again", "--json").stdout)["put"] == 260
    assert json.loads(run("--from", "-", *arguments, "--run", "again", "--json", stdin=log.read_bytes()).stdout) == {
        "lines": 0,
        "chosen": 0,
        "put": 0,
        "without_ids": 0,
        "forgotten": 0,
        "too_old": 0,
        "unreadable": 0,
        "earlier_bytes": log.stat().st_size,
        "by_name": {},
    }


def test_a_replay_killed_at_any_moment_can_be_run_again_and_doubles_nothing(site: Site, tmp_path: Path) -> None:
    log = write_log(tmp_path / "tracking.log", 1500)
    arguments = ("replay", "--from", str(log), "--to", SEGMENT, "--rate", "1500")
    for reached in (100, 700):
        child = site.processes.dispatcher(*arguments)
        wait_for(lambda reached=reached: site.counts(SEGMENT).accepted >= reached)  # type: ignore[misc]
        child.kill()
    site.processes.dispatcher(*arguments).succeed()

    assert numbers(site) == Counter(range(1500))
    assert site.counts(SEGMENT).accepted == 1500
    site.assert_ledger_closes()


def test_a_restart_of_redis_neither_ends_nor_doubles_a_replay(site: Site, tmp_path: Path) -> None:
    log = write_log(tmp_path / "tracking.log", 2000)
    child = site.processes.dispatcher("replay", "--from", str(log), "--to", SEGMENT, "--rate", "1000")
    for reached in (200, 900):
        wait_for(lambda reached=reached: site.counts(SEGMENT).accepted >= reached)  # type: ignore[misc]
        site.redis.stop()
        site.redis.start()
    child.succeed()

    assert numbers(site) == Counter(range(2000))


def test_the_next_run_continues_from_what_redis_still_has_after_a_loss(site: Site, tmp_path: Path) -> None:
    site.environ["DISPATCHER_DESTINATIONS__SEGMENT__BATCH_EVENTS"] = "100"
    log = write_log(tmp_path / "tracking.log", 400)
    process = Replay(site.settings(), SEGMENT, EVERYTHING, rate=1e6)
    running = process.run(Source(log))
    with site.redis.client() as client:
        while site.counts(SEGMENT).accepted < 200:
            next(running)
        kept = {key: client.dump(key) for key in client.keys("dispatcher:*")}
        while site.counts(SEGMENT).accepted < 300:
            next(running)
        client.flushall()
        for key, value in kept.items():
            assert value is not None
            client.restore(key, 0, value)
    with pytest.raises(ReplayError, match="Run it again"):
        list(running)
    process.close()

    assert replay(site, log) == []
    assert numbers(site) == Counter(range(400))
    site.assert_ledger_closes()


def test_another_log_with_the_same_beginning_needs_a_name_of_its_own(site: Site, tmp_path: Path) -> None:
    log = write_log(tmp_path / "tracking.log", 300)
    replay(site, log)
    picked = tmp_path / "picked.log"
    picked.write_bytes(b"".join(a_line(number) for number in range(0, 900, 3)))

    with pytest.raises(ReplayError, match="with --run and a name"):
        replay(site, picked)
    assert replay(site, picked, run="picked") == []
    assert site.counts(SEGMENT).accepted == 600


@pytest.mark.parametrize("before", [0, 5, 150])
def test_lines_without_ids_want_a_word_before_any_of_them_is_sent(in_site: Site, tmp_path: Path, before: int) -> None:
    log = tmp_path / "tracking.log"
    lines = [a_line(number) for number in range(before)] + [a_line(number, ids=False) for number in range(before, 200)]
    log.write_bytes(b"".join(lines))
    arguments = ("--from", str(log), "--to", SEGMENT, "--rate", "1000000")

    counted = run(*arguments, "--dry-run")
    assert f"{200 - before} of these lines do not hold their events' ids" in counted.stderr

    refused = run(*arguments)
    assert refused.exit_code == 2
    assert f"tracking.log:{before + 1}: the line does not hold its event's id" in refused.stderr
    assert "then add --yes" in " ".join(refused.stderr.split())
    assert in_site.counts(SEGMENT).accepted <= before

    done = run(*arguments, "--yes")
    assert (done.exit_code, in_site.counts(SEGMENT).accepted) == (0, 200)
    assert f"{200 - before} of these lines do not hold their events' ids" in done.stderr
    assert numbers(in_site) == Counter(range(200))


@pytest.mark.parametrize("kept", ["not JSON", "[]", "{}", '{"token": 7}'])
def test_a_checkpoint_that_cannot_be_read_is_said_with_the_way_out(in_site: Site, tmp_path: Path, kept: str) -> None:
    arguments = ("--from", str(write_log(tmp_path / "log", 3)), "--to", SEGMENT, "--all")
    assert run(*arguments).exit_code == 0
    [key] = in_site.redis.call("KEYS", keys.REPLAY.of("*", "*"))
    in_site.redis.call("SET", key, kept)
    refused = run(*arguments)

    assert (refused.exit_code, "begins anew" in refused.output) == (5, True), refused.output
    assert run(*arguments, "--run", "again").exit_code == 0


def test_lines_without_ids_that_are_not_chosen_need_no_word(in_site: Site, tmp_path: Path) -> None:
    log = tmp_path / "tracking.log"
    log.write_bytes(a_line(0, "shop.basket.seen", ids=False) + a_line(1))
    assert run("--from", str(log), "--to", SEGMENT).exit_code == 0
    assert run("--from", "-", "--to", SEGMENT, "--all", stdin=log.read_bytes()).exit_code == 2
    assert numbers(in_site) == Counter([1])


def test_damaged_lines_are_reported_and_do_not_stop_the_rest(in_site: Site, tmp_path: Path) -> None:
    log = tmp_path / "tracking.log"
    log.write_bytes(a_line(0) + b'{"name": "shop.order.paid", "eve\n' + b"\n" + a_line(1) + a_line(2)[:-30])

    done = run("--from", str(log), "--to", SEGMENT)

    assert done.exit_code == 1
    assert f"{log}:2: it is not JSON" in done.stderr
    assert f"{log}:5: it is not JSON" in done.stderr
    assert "could not be read: 2 lines" in done.stderr
    assert numbers(in_site) == Counter([0, 1])
    # The last line was still being written when it was read.
    with log.open("ab") as more:
        more.write(a_line(2)[-30:])
    assert run("--from", str(log), "--to", SEGMENT).exit_code == 0
    assert numbers(in_site) == Counter([2])


def test_a_replay_pauses_while_too_many_events_wait(site: Site, tmp_path: Path) -> None:
    log = write_log(tmp_path / "tracking.log", 1000)
    child = site.processes.dispatcher(
        "replay", "--from", str(log), "--to", SEGMENT, "--rate", "1000000", "--most-waiting", "300"
    )
    wait_for(lambda: site.counts(SEGMENT).waiting == 400, what=lambda: site.counts(SEGMENT))
    found = numbers(site)
    while child.process.poll() != 0:
        assert child.running, child.output
        assert site.counts(SEGMENT).waiting <= 400
        found += numbers(site)
    assert found + numbers(site) == Counter(range(1000))


def test_a_destination_that_cannot_be_replayed_to_is_an_error(in_site: Site, tmp_path: Path) -> None:
    log = str(write_log(tmp_path / "log", 1))
    assert "unknown destination 'segmnt'; the enabled ones are" in run("--from", log, "--to", "segmnt").output
    assert "its lines would be there twice" in run("--from", log, "--to", LOG).output
    assert run("--from", log + "x", "--to", SEGMENT).exit_code == 2


def test_a_dry_run_needs_no_redis(in_site: Site, tmp_path: Path) -> None:
    log = str(write_log(tmp_path / "log", 30))
    in_site.redis.stop()
    done = run("--from", log, "--to", SEGMENT, "--dry-run")
    assert "would be sent to segment: 30 of 30 lines" in done.stdout
    assert "30  shop.order.paid" in done.stdout


def test_memory_stays_flat_however_long_the_log_is(site: Site, tmp_path: Path) -> None:
    log = write_log(tmp_path / "tracking.log", 8000)
    process = Replay(site.settings(), SEGMENT, EVERYTHING, rate=1e9)
    next(process.run(Source(write_log(tmp_path / "first.log", 500))))
    tracemalloc.start()
    try:
        list(process.run(Source(log)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        process.close()
    assert process.totals.put >= 8000
    assert peak < log.stat().st_size / 2
