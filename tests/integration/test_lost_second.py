"""Redis lost its last second while relays come and go: the events are put again, in the same batches."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatcher.errors import StoreUnavailableError
from dispatcher.relay.relay import Relay
from dispatcher.relay.relayed_outbox import PutRefusedError
from dispatcher.store import keys
from dispatcher.store.claim import Claim
from dispatcher.tasks.destinations.tracking_log import TrackingLog
from dispatcher.tracker import Tracker
from tests.support.cut_short import CutShort
from tests.support.deliveries import LOG, SEGMENT, deliver_to_log, each_once, take_numbers
from tests.support.site import Site
from tests.support.tracking_lines import count_lines
from tests.support.waiting import wait_for


@pytest.fixture
def tracker(site: Site) -> Iterator[Tracker]:
    """The tracker of a process whose outbox another process relays."""
    site.environ["DISPATCHER_RELAY__MODE"] = "external"
    site.environ["DISPATCHER_DESTINATIONS__TRACKING_LOG__BATCH_EVENTS"] = "5"
    site.environ["DISPATCHER_DESTINATIONS__SEGMENT__BATCH_EVENTS"] = "7"
    tracker = Tracker(site.settings())
    yield tracker
    tracker.close()


def emit(tracker: Tracker, numbers: range) -> None:
    for n in numbers:
        tracker.emit("shop.order.paid", {"n": n})


def rests(relay: Relay) -> bool:
    """Do a step. Returns whether it had nothing to do. The store refuses the first step after a loss."""
    try:
        return relay.step() == 0
    except (StoreUnavailableError, PutRefusedError):
        return False


def put_all(relay: Relay) -> None:
    wait_for(lambda: rests(relay) and relay.is_drained(), what="everything to be put")


@pytest.fixture
def log(site: Site) -> Iterator[TrackingLog]:
    destination = TrackingLog(LOG, TrackingLog.Options(path=site.log))
    yield destination
    destination.close()


@pytest.mark.parametrize("restarted", ["before", "after", "both"])
def test_a_restarted_relay_puts_the_lost_second_again(
    site: Site, tracker: Tracker, tmp_path: Path, restarted: str
) -> None:
    relay = Relay(site.settings())
    emit(tracker, range(30))
    put_all(relay)
    site.redis.save_to(tmp_path / "kept")
    emit(tracker, range(30, 73))
    put_all(relay)
    if restarted in ("before", "both"):
        relay.close()
        relay = Relay(site.settings())
        emit(tracker, range(73, 80))
        put_all(relay)
    site.redis.bring_back(tmp_path / "kept")
    if restarted in ("after", "both"):
        relay.close()
        relay = Relay(site.settings())
    emit(tracker, range(80, 90))
    put_all(relay)
    wait_for(lambda: rests(relay) and site.counts(LOG).queued >= 83, what=lambda: site.counts(LOG))
    relay.close()
    expected = each_once(90)
    if restarted == "after":
        expected -= Counter(range(73, 80))
    assert take_numbers(site) == expected
    assert take_numbers(site, SEGMENT) == expected
    site.assert_ledger_closes()


def test_the_log_writes_no_line_of_the_lost_second_twice_after_a_relay_restart(
    site: Site, tracker: Tracker, log: TrackingLog, tmp_path: Path
) -> None:
    relay = Relay(site.settings())
    emit(tracker, range(13))
    put_all(relay)
    site.redis.save_to(tmp_path / "kept")
    emit(tracker, range(13, 39))
    put_all(relay)
    deliver_to_log(site, log)
    relay.close()
    site.redis.bring_back(tmp_path / "kept")
    relay = Relay(site.settings())
    emit(tracker, range(39, 50))
    put_all(relay)
    wait_for(lambda: rests(relay) and site.counts(LOG).queued == 50, what=lambda: site.counts(LOG))
    deliver_to_log(site, log)
    relay.close()
    assert count_lines(site.log) == 50


@pytest.mark.parametrize("carried_out", [1, 2, 3, 99], ids=["one", "two", "three", "all, unanswered"])
def test_an_interrupted_put_is_repeated_in_the_same_batches_after_a_loss_too(
    site: Site, tracker: Tracker, log: TrackingLog, tmp_path: Path, carried_out: int
) -> None:
    site.redis.save_to(tmp_path / "kept")
    relay = Relay(site.settings(), store=CutShort(site, carried_out=carried_out))
    emit(tracker, range(17))
    with pytest.raises(StoreUnavailableError):
        relay.step()
    emit(tracker, range(17, 21))
    put_all(relay)
    # The relay does not learn of it before Redis has lost it.
    deliver_to_log(site, log)
    assert count_lines(site.log) == 21
    site.redis.bring_back(tmp_path / "kept")
    emit(tracker, range(21, 30))
    wait_for(lambda: rests(relay) and site.counts(LOG).queued == 30, what=lambda: site.counts(LOG))
    deliver_to_log(site, log)
    relay.close()
    assert count_lines(site.log) == 30


def test_the_next_relay_repeats_an_interrupted_put_in_the_same_batches(
    site: Site, tracker: Tracker, log: TrackingLog
) -> None:
    relay = Relay(site.settings(), store=CutShort(site, carried_out=2))
    emit(tracker, range(17))
    with pytest.raises(StoreUnavailableError):
        relay.step()
    relay.close()
    relay = Relay(site.settings())
    emit(tracker, range(17, 21))
    put_all(relay)
    deliver_to_log(site, log)
    relay.close()
    assert count_lines(site.log) == 21
    assert take_numbers(site, SEGMENT) == each_once(21)


def test_events_put_again_after_a_loss_are_maybe_delivered_and_new_ones_are_not(
    site: Site, tracker: Tracker, tmp_path: Path
) -> None:
    relay = Relay(site.settings())
    emit(tracker, range(5))
    put_all(relay)
    site.redis.save_to(tmp_path / "kept")
    emit(tracker, range(5, 10))
    put_all(relay)
    site.redis.bring_back(tmp_path / "kept")
    emit(tracker, range(10, 15))
    put_all(relay)
    wait_for(lambda: rests(relay) and site.counts(LOG).queued == 15, what=lambda: site.counts(LOG))
    relay.close()
    with site.redis.client() as client:
        ids = client.zrange(keys.SINCE.of(LOG), 0, -1)
    claims = [site.store.claim(LOG, one.decode(), token="t", lease_seconds=60) for one in ids]
    again = {json.loads(one.payloads[0])["data"]["n"]: one.maybe_delivered for one in claims if isinstance(one, Claim)}
    assert again == {0: False, 5: True, 10: False}


def test_a_cleanly_ended_process_leaves_events_for_a_redis_that_loses_them(site: Site, tmp_path: Path) -> None:
    site.redis.save_to(tmp_path / "kept")
    code = "for n in range(20): tracker.emit('shop.order.paid', {'n': n})\nassert dispatcher.flush(60)"
    site.emitting(code).succeed()
    site.redis.bring_back(tmp_path / "kept")
    site.relay_once()
    assert take_numbers(site) == each_once(20)
    assert take_numbers(site, SEGMENT) == each_once(20)


def test_a_refused_put_says_what_happened_and_the_next_steps_put_everything(
    site: Site, tracker: Tracker, tmp_path: Path
) -> None:
    relay = Relay(site.settings())
    emit(tracker, range(5))
    put_all(relay)
    site.redis.save_to(tmp_path / "kept")
    emit(tracker, range(5, 10))
    put_all(relay)
    site.redis.bring_back(tmp_path / "kept")
    emit(tracker, range(10, 15))
    with pytest.raises(PutRefusedError, match="up to another position than this relay knew"):
        relay.step()
    put_all(relay)
    relay.close()
    assert take_numbers(site) == each_once(15)
