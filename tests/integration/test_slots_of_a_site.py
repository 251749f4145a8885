"""The number of a destination's slots grows and shrinks while events wait: each is in the log once in the end."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from dispatcher.errors import StoreUnavailableError
from dispatcher.relay.relay import Relay
from dispatcher.relay.relayed_outbox import PutRefusedError
from dispatcher.store.keys import SLOTS
from dispatcher.tracker import Tracker
from tests.support.deliveries import LOG
from tests.support.site import ALLOWLIST, Site
from tests.support.tracking_lines import assert_each_once
from tests.support.waiting import wait_for


def set_slots(site: Site, number: int) -> None:
    site.allow(ALLOWLIST, more=f"slots = {number}\n[destinations.tracking_log]\nslots = {number}\n")


class Emitters:
    """Processes that emit and live on, as the relay of another process sees them: each has an outbox of its own."""

    def __init__(self, site: Site, stack: ExitStack) -> None:
        self._site = site
        self._stack = stack
        self._trackers: list[Tracker] = []
        self.emitted = 0

    def start(self, count: int) -> None:
        """Start some more."""
        for _ in range(count):
            self._trackers.append(Tracker(self._site.settings()))
            self._stack.callback(self._trackers[-1].close)

    def emit(self) -> None:
        """Have each emit five events."""
        for tracker in self._trackers:
            for _ in range(5):
                tracker.emit("shop.order.paid", {"n": self.emitted})
                self.emitted += 1


def put_all(relay: Relay) -> None:
    def rests() -> bool:
        try:
            return relay.step(search=True) == 0
        except (StoreUnavailableError, PutRefusedError):
            return False

    wait_for(lambda: rests() and relay.is_drained(), what="everything to be put")


def test_nothing_is_lost_or_doubled_whatever_number_of_slots_is_set_meanwhile(site: Site, tmp_path: Path) -> None:
    site.environ["DISPATCHER_RELAY__MODE"] = "external"
    site.environ["DISPATCHER_RELAY__RELOAD_SECONDS"] = "0.001"
    site.redis.save_to(tmp_path / "empty")
    with ExitStack() as stack:
        emitters = Emitters(site, stack)
        relay = Relay(site.settings())
        for number in (1, 7, 3):
            set_slots(site, number)
            if number == 3:
                # Another relay, of a store that has lost everything: it puts all of it again.
                site.redis.bring_back(tmp_path / "empty")
                relay.close()
                relay = Relay(site.settings())
            put_all(relay)
            emitters.start(8)
            emitters.emit()
            put_all(relay)
        # Two of seven at least: by chance, eight journals are all in the same two once in 20,000 runs.
        assert len(site.counts(LOG).slots) > 2
        assert site.counts(LOG).accepted == emitters.emitted
        set_slots(site, 1)  # what the worker knows
        worker = site.worker()
        site.wait_until_delivered()
        emitters.emit()
        put_all(relay)
        site.wait_until_delivered()
        relay.close()
    assert_each_once(site.log, emitters.emitted)
    assert site.counts(LOG).delivered == emitters.emitted
    site.assert_ledger_closes()
    assert worker.stop(60) == 0


def test_a_new_relay_finds_its_journals_where_slot_0_has_forgotten_their_slots(site: Site) -> None:
    site.environ["DISPATCHER_RELAY__MODE"] = "external"
    set_slots(site, 4)
    with ExitStack() as stack:
        emitters = Emitters(site, stack)
        emitters.start(8)
        emitters.emit()
        relay = Relay(site.settings())
        put_all(relay)
        relay.close()
        before = site.counts(LOG)
        with site.redis.client() as client:
            client.delete(SLOTS.of(LOG))
        set_slots(site, 1)
        relay = Relay(site.settings())
        emitters.emit()
        put_all(relay)
        relay.close()
    counts = site.counts(LOG)
    assert counts.slots == before.slots != (0,)
    assert counts.accepted == counts.queued == emitters.emitted
