"""Journals are kept until their batches are settled: a Redis that has lost some gets exactly these again."""

from __future__ import annotations

import os
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

import dispatcher
from dispatcher import tracker
from dispatcher.outbox.state import State
from tests.support.deliveries import LOG, SEGMENT, each_once, take_numbers
from tests.support.processes import Child
from tests.support.site import Site
from tests.support.tracking_lines import assert_each_once
from tests.support.waiting import wait_for

# A process that emits until it is told to stop, and then reports the number of its events.
EMIT_UNTIL_TOLD = """
n = 0
while not os.path.exists(sys.argv[1]):
    for _ in range(20):
        tracker.emit("shop.order.paid", {"n": n}); n += 1
    time.sleep(0.005)
print("emitted", n)
assert dispatcher.flush(60)
print("flushed")
while not os.path.exists(sys.argv[1] + ".end"): time.sleep(0.02)
"""


def emitting_until_told(site: Site) -> Child:
    return site.emitting(EMIT_UNTIL_TOLD, str(site.directory / "stop"))


def stop_emitting(site: Site, child: Child) -> int:
    (site.directory / "stop").touch()
    child.wait_for_output("flushed")
    return int(child.output.split("emitted ")[1].split()[0])


def end(site: Site, child: Child) -> None:
    (site.directory / "stop.end").touch()
    assert child.wait() == 0, child.output


def has_lines(site: Site, count: int) -> bool:
    return site.log.exists() and site.log.read_bytes().count(b"\n") >= count


def test_events_lost_by_an_emptied_redis_are_put_again_and_delivered_once(in_site: Site) -> None:
    for n in range(500):
        tracker.emit("shop.order.paid", {"n": n})
    assert dispatcher.flush(60)
    in_site.redis.wipe()
    for n in range(500, 600):
        tracker.emit("shop.order.paid", {"n": n})
    assert dispatcher.flush(60)
    wait_for(lambda: in_site.counts(LOG).queued == 600, what=lambda: in_site.counts(LOG))
    assert take_numbers(in_site) == each_once(600)
    assert take_numbers(in_site, SEGMENT) == each_once(600)
    in_site.assert_ledger_closes()


def test_the_relay_notices_an_emptied_redis_without_a_new_event(in_site: Site) -> None:
    for n in range(50):
        tracker.emit("shop.order.paid", {"n": n})
    assert dispatcher.flush(60)
    in_site.redis.wipe()
    wait_for(lambda: in_site.counts(LOG).queued == 50 and in_site.counts(SEGMENT).queued == 50)


def test_settled_events_are_not_put_again(in_site: Site) -> None:
    for n in range(50):
        tracker.emit("shop.basket.seen", {"n": n})
    assert dispatcher.flush(60)
    assert take_numbers(in_site) == each_once(50)
    [outbox] = in_site.outboxes()
    state = State.open(outbox)
    wait_for(lambda: state.settled == state.position)
    state.close()
    in_site.redis.wipe()
    tracker.emit("shop.basket.seen", {"n": 50})
    assert dispatcher.flush(60)
    assert take_numbers(in_site) == Counter([50])
    assert outbox.exists()


def test_a_redis_emptied_under_load_loses_and_doubles_no_line(site: Site) -> None:
    worker = site.worker()
    child = emitting_until_told(site)
    for round_ in range(1, 3):
        wait_for(partial(has_lines, site, 800 * round_))
        site.redis.wipe()
    lines = site.log.read_bytes().count(b"\n")
    wait_for(partial(has_lines, site, lines + 500), what=lambda: worker.output + child.output)
    count = stop_emitting(site, child)
    site.wait_until_delivered()
    wait_for(partial(has_lines, site, count))
    end(site, child)
    assert_each_once(site.log, count)


def test_a_redis_that_lost_its_last_moments_loses_and_doubles_no_line(site: Site, tmp_path: Path) -> None:
    worker = site.worker()
    child = emitting_until_told(site)
    wait_for(partial(has_lines, site, 500))
    for round_ in range(2):
        lines = site.log.read_bytes().count(b"\n")
        place = tmp_path / f"kept-{round_}"
        site.redis.save_to(place)
        wait_for(partial(has_lines, site, lines + 300))
        site.redis.bring_back(place)
        wait_for(partial(has_lines, site, lines + 800), what=lambda: worker.output + child.output)
    count = stop_emitting(site, child)
    site.wait_until_delivered()
    wait_for(partial(has_lines, site, count))
    end(site, child)
    assert_each_once(site.log, count)


def test_the_outbox_of_a_dead_process_stays_until_it_is_settled(site: Site) -> None:
    site.leave_behind(100)
    relay = site.processes.dispatcher("relay")
    wait_for(lambda: site.counts(LOG).queued == 100)
    assert len(site.outboxes()) == 1
    take_numbers(site)
    assert len(site.outboxes()) == 1
    take_numbers(site, SEGMENT)
    wait_for(lambda: site.outboxes() == [])
    assert relay.stop() == 0


def test_kept_journals_do_not_outgrow_their_limit(site: Site) -> None:
    child = site.emitting(
        "for n in range(6000): tracker.emit('shop.basket.seen', {'n': n, 'padding': 'x' * 4000})\n"
        "assert dispatcher.flush(60)\nprint('flushed')\ntime.sleep(60)",
        DISPATCHER_OUTBOX__KEEP_BYTES=str(9 << 20),
    )
    child.wait_for_output("flushed")
    [outbox] = site.outboxes()
    assert 2 <= len(list(outbox.glob("0*.journal"))) <= 4
    child.kill()


@pytest.mark.parametrize("keep", ["0", str(256 << 20)])
def test_journal_files_are_deleted_when_settled_or_at_once_if_none_are_kept(site: Site, keep: str) -> None:
    child = site.emitting(
        "for n in range(6000): tracker.emit('shop.basket.seen', {'n': n, 'padding': 'x' * 4000})\n"
        "assert dispatcher.flush(60)\nprint('flushed')\ntime.sleep(60)",
        DISPATCHER_OUTBOX__KEEP_BYTES=keep,
    )
    child.wait_for_output("flushed")
    [outbox] = site.outboxes()

    def files() -> int:
        return sum(name.startswith("0") for name in os.listdir(outbox))

    if keep != "0":
        assert files() > 4
        take_numbers(site)
    wait_for(lambda: files() <= 2, what=files)
    child.kill()
