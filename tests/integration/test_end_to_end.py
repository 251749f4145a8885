"""From emit to the tracking log and the Segment stub, with real workers, and with processes killed on the way."""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dispatcher.destinations.base import Batch
from dispatcher.local.segment_stub import SegmentStub
from dispatcher.outcomes import Outcome
from dispatcher.store import keys
from dispatcher.tasks.delivery.task import Delivery
from dispatcher.tasks.destinations.tracking_log import TrackingLog, TrackingLogOptions
from tests.support.json_lines import read_whole_lines
from tests.support.site import Site
from tests.support.tracking_lines import assert_each_once, count_lines, read_lines, tally
from tests.support.waiting import wait_for

LOG, SEGMENT = "tracking_log", "segment"


def at_segment(site: Site) -> list[dict[str, Any]]:
    """The messages of the Segment stub, by event."""
    return read_lines(site.directory / "segment.jsonl")


@pytest.mark.every_server
def test_an_event_becomes_a_line_and_a_segment_message_as_the_allowlists_say(site: Site) -> None:
    site.worker()
    site.emitting(
        """
with tracker.context("request", {"user_id": 7, "username": "ann", "ip": "192.0.2.7", "agent": "Mozilla/5.0",
                                 "host": "shop.example", "path": "/pay", "referer": "https://shop.example/basket",
                                 "page": None, "accept_language": "de", "session": "s", "client_id": "1.2",
                                 "event_source": "server", "org_id": "", "course_id": ""}):
    print(tracker.emit("shop.order.paid", {"order": 17, "total": 12.5, "note": "Grüße"}))
    tracker.emit("shop.basket.seen", {"order": 18})
    segment.track(7, "Order Paid", {"order": 17})
    segment.identify(7, {"plan": "gold"})
"""
    ).succeed()
    site.wait_until_delivered()
    paid, seen = sorted(read_lines(site.log), key=lambda line: line["name"])[::-1]
    time_of_it = paid.pop("time")
    assert time_of_it.endswith("+00:00")
    paid_id = paid["context"].pop("event_id")
    assert paid == {
        "name": "shop.order.paid",
        "context": {
            "user_id": 7,
            "org_id": "",
            "course_id": "",
            "path": "/pay",
        },
        "username": "ann",
        "session": "s",
        "ip": "192.0.2.7",
        "agent": "Mozilla/5.0",
        "host": "shop.example",
        "referer": "https://shop.example/basket",
        "accept_language": "de",
        "event": {"order": 17, "total": 12.5, "note": "Grüße"},
        "event_type": "shop.order.paid",
        "event_source": "server",
        "page": None,
    }
    assert seen["event"] == {"order": 18}
    messages = {message.get("event", message["type"]): message for message in at_segment(site)}
    assert set(messages) == {"shop.order.paid", "Order Paid", "identify"}
    assert messages["shop.order.paid"]["properties"]["order"] == 17
    assert messages["shop.order.paid"]["messageId"] == paid_id
    assert {message["userId"] for message in messages.values()} == {"7"}
    assert messages["identify"]["traits"] == {"plan": "gold"}
    assert messages["Order Paid"]["context"]["ip"] == "192.0.2.7"
    assert messages["shop.order.paid"]["timestamp"][:19] == time_of_it[:19]
    assert site.counts(SEGMENT).filtered == 1
    site.assert_ledger_closes()


def test_the_events_id_is_segments_message_id(site: Site) -> None:
    site.worker("-Q", SEGMENT)
    printed = site.emitting("print(tracker.emit('shop.order.paid', {'n': 1}))").succeed()
    [message] = wait_for(lambda: read_whole_lines(site.directory / "segment.jsonl"))
    assert message["messageId"] == printed.strip()


def test_one_setting_keeps_internal_events_out_of_the_log(site: Site) -> None:
    emit = "tracker.emit('edx.bi.user.seen', {'n': 0})\ntracker.emit('shop.order.paid', {'n': 1})"
    site.worker()
    site.emitting(emit).succeed()
    site.wait_for_lines(2)
    site.allow(["*"], more="[destinations.tracking_log]\ninternal = false\n")
    site.emitting(emit).succeed()
    site.wait_until_delivered()
    assert Counter(line["name"] for line in read_lines(site.log)) == {"edx.bi.user.seen": 1, "shop.order.paid": 2}
    assert Counter(message["event"] for message in at_segment(site)) == {"edx.bi.user.seen": 2, "shop.order.paid": 2}


def test_a_failed_delivery_is_parked_shown_as_a_retry_and_delivered_later(
    site: Site,
) -> None:
    port = site.segment_stub.port
    site.segment_stub.stop()
    worker = site.worker()
    site.emitting("for n in range(50): tracker.emit('shop.order.paid', {'n': n})").succeed()
    wait_for(lambda: site.counts(SEGMENT).retried >= 100, what=lambda: worker.output)
    found = site.counts(SEGMENT)
    assert (found.accepted, found.delivered, found.waiting) == (50, 0, 50)
    assert found.last_error
    # The failing destination does not delay the working one.
    site.wait_for_lines(50)
    assert "Retry in" in worker.output or "retry" in worker.output.lower()
    with SegmentStub(port=port, file=site.directory / "segment.jsonl"):
        site.wait_until_delivered()
    assert Counter(message["properties"]["n"] for message in at_segment(site)) == Counter(range(50))
    site.assert_ledger_closes()


def test_a_hundred_thousand_emits_and_kill_9_make_a_hundred_thousand_lines(site: Site) -> None:
    count = 100_000
    child = site.emitting(
        f"for n in range({count}): tracker.emit('shop.basket.seen', {{'n': n}})\nos.kill(os.getpid(), 9)"
    )
    assert child.wait() == -signal.SIGKILL, child.output
    relayed = site.processes.run("relay", "--once")
    assert relayed.returncode == 0, relayed.stderr
    site.worker()
    site.wait_until_delivered()
    assert_each_once(site.log, count)
    site.assert_ledger_closes()
    assert site.counts(LOG).delivered == count


def test_a_process_killed_while_its_relay_thread_works_loses_nothing(site: Site) -> None:
    site.worker()
    chance = random.Random(7)
    emitted = 0
    for _ in range(3):
        child = site.emitting(
            "n = int(sys.argv[1])\n"
            "while True:\n"
            "    tracker.emit('shop.basket.seen', {'n': n}); n += 1\n"
            "    if n % 50 == 0: os.write(1, b'%d\\n' % n); time.sleep(0.002)",
            str(emitted),
            DISPATCHER_RELAY__LINGER_SECONDS="0.001",
        )
        child.wait_for_output("00\n")
        time.sleep(chance.uniform(0.05, 0.3))  # the moment of the kill, not a wait
        child.kill()
        said = int(child.output.splitlines()[-1])
        relayed = site.processes.run("relay", "--once")
        assert relayed.returncode == 0, relayed.stderr
        site.wait_until_delivered()
        emitted = count_lines(site.log)
        # All that it reported, and up to 50 that it had no time to report.
        assert said <= emitted <= said + 50
        assert_each_once(site.log, emitted)
    site.assert_ledger_closes()


def test_a_worker_killed_while_it_delivers_leaves_each_line_once(site: Site) -> None:
    count = 15_000
    site.emitting(
        f"for n in range({count}): tracker.emit('shop.basket.seen', {{'n': n, 'padding': 'x' * 300}})\n"
        "assert dispatcher.flush(60)",
        DISPATCHER_DESTINATIONS__TRACKING_LOG__BATCH_EVENTS="200",
    ).succeed()
    short = {"DISPATCHER_DESTINATIONS__TRACKING_LOG__LEASE_SECONDS": "0.5"}
    kills = 0
    lines = -1
    while kills < 3:
        worker = site.worker("-Q", LOG, **short)
        site.wait_for_lines(lines + 1)
        worker.kill()
        kills += 1
        lines = count_lines(site.log)
        site.assert_ledger_closes()
    site.worker("-Q", LOG, **short)
    site.wait_for_lines(count)
    wait_for(lambda: site.counts(LOG).waiting == 0, what=lambda: site.counts(LOG))
    assert_each_once(site.log, count)
    site.assert_ledger_closes()


class Sleepy(TrackingLog):
    """A destination that stops its process for a while during a delivery."""

    def __init__(self, name: str, options: TrackingLogOptions, asleep: threading.Event, wake: threading.Event) -> None:
        super().__init__(name, options)
        self._asleep, self._wake = asleep, wake

    def deliver(self, batch: Batch) -> Sequence[Outcome]:
        self._asleep.set()
        self._wake.wait(60)
        return super().deliver(batch)


def test_a_worker_that_wakes_after_its_batch_was_taken_over_doubles_no_line(site: Site) -> None:
    site.emitting("for n in range(100): tracker.emit('shop.basket.seen', {'n': n})").succeed()
    table = site.settings().destinations[LOG].model_copy(update={"lease_seconds": 0.2})
    options = TrackingLogOptions(path=site.log)
    asleep, wake = threading.Event(), threading.Event()
    sleepy = Delivery(site.store, LOG, table, lambda: Sleepy(LOG, options, asleep, wake))
    other = Delivery(site.store, LOG, table, lambda: TrackingLog(LOG, options))
    with site.redis.client() as client:
        ids = [batch_id.decode() for batch_id in client.zrange(keys.SINCE.of(LOG), 0, -1)]
    sleeper = threading.Thread(target=sleepy.run, args=(ids[0],))
    sleeper.start()
    assert asleep.wait(60)
    wait_for(lambda: "delivered" in other.run(ids[0]))
    wake.set()
    sleeper.join(60)
    for batch_id in ids[1:]:
        other.run(batch_id)
    assert_each_once(site.log, 100)
    assert (site.counts(LOG).delivered, site.counts(LOG).waiting) == (100, 0)


def test_emitting_at_full_speed_without_redis_neither_loses_nor_waits(site: Site) -> None:
    site.worker("-Q", LOG)
    count = 40_000
    child = site.emitting(
        """
from pathlib import Path
go, count = Path(sys.argv[1]), int(sys.argv[2])
tracker.emit("shop.basket.seen", {"n": 0})
assert dispatcher.flush(60)
print("first", flush=True)
while not go.exists(): time.sleep(0.01)
began = time.monotonic()
for n in range(1, count):
    tracker.emit("shop.basket.seen", {"n": n})
print("emitted in", time.monotonic() - began, flush=True)
assert dispatcher.flush(60)
print("flushed", flush=True)
""",
        str(site.directory / "go"),
        str(count),
    )
    child.wait_for_output("first")
    site.redis.stop()
    (site.directory / "go").touch()
    child.wait_for_output("emitted")
    assert "flushed" not in child.output
    site.redis.start()
    child.succeed()
    site.wait_for_lines(count)
    site.wait_until_delivered()
    assert_each_once(site.log, count)
    site.assert_ledger_closes()


@pytest.mark.parametrize("pool", ["prefork", "solo", "gevent"])
def test_every_celery_pool_delivers(site: Site, pool: str) -> None:
    site.environ["DISPATCHER_WORKER__POOL"] = pool
    worker = site.worker("-c", "2")
    site.emitting(
        "for n in range(2000): tracker.emit('shop.order.paid', {'n': n})", DISPATCHER_OUTBOX__EXIT_FLUSH_SECONDS="10"
    ).succeed()
    site.wait_until_delivered()
    assert_each_once(site.log, 2000)
    assert Counter(message["properties"]["n"] for message in at_segment(site)) == Counter(range(2000))
    assert worker.stop() == 0
    assert "Traceback" not in worker.output


def test_a_full_disk_under_the_log_parks_the_batches_and_leaves_no_half_line(site: Site, tmp_path: Path) -> None:
    site.environ["DISPATCHER_DESTINATIONS__TRACKING_LOG__PATH"] = "/dev/full"
    worker = site.worker("-Q", LOG)
    site.emitting("for n in range(100): tracker.emit('shop.basket.seen', {'n': n})").succeed()
    wait_for(lambda: site.counts(LOG).retried >= 100, what=lambda: worker.output)
    worker.kill()
    site.environ["DISPATCHER_DESTINATIONS__TRACKING_LOG__PATH"] = str(site.log)
    site.worker("-Q", LOG)
    site.wait_for_lines(100)
    assert_each_once(site.log, 100)


def test_lines_keep_the_order_of_emits_of_one_process(site: Site) -> None:
    # A delivery leaves out a batch for which it has no room, and takes a smaller one behind it: these add up.
    site.emitting(
        "for n in range(5000):\n"
        "    tracker.emit('shop.basket.seen', {'n': n})\n"
        "    assert n % 500 != 499 or dispatcher.flush(60)"
    ).succeed()
    site.worker("-Q", LOG, "-P", "solo")
    site.wait_for_lines(5000)
    assert [line["event"]["n"] for line in read_lines(site.log)] == list(range(5000))


def test_the_task_result_holds_counts_and_nothing_personal(site: Site) -> None:
    site.emitting("for n in range(3): tracker.emit('shop.order.paid', {'mail': 'ann@example.org'})").succeed()
    text = site.redis.call("LRANGE", LOG, 0, -1)
    assert isinstance(text, list)
    assert all(b"ann@" not in message for message in text)
    shown = [json.loads(message)["headers"]["argsrepr"] for message in text]
    assert sum(int(summary[1:].split()[0]) for summary in shown) == 3
    assert all("shop.order.paid" in summary for summary in shown)
    assert tally(site.log) == {}
