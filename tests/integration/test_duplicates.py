"""An id that a client sends again goes on once, whatever is repeated, killed, lost and put again."""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.errors import StoreUnavailableError
from dispatcher.outcomes import DUPLICATE
from dispatcher.relay.relay import Relay
from dispatcher.relay.relayed_outbox import PutRefusedError
from dispatcher.store.batches import BatchStore
from dispatcher.store.deprecated_calls import CONTEXT_KEY
from dispatcher.store.doorbell import Ring
from dispatcher.store.event_ids import SOURCE_KEY, IdMemory, IdWindow, fingerprints
from dispatcher.store.keys import IDS_OF_SLICE
from dispatcher.store.put import Put
from dispatcher.tasks.destinations.tracking_log import TrackingLog
from dispatcher.tracker import Tracker
from tests.support.clock import Clock
from tests.support.cut_short import CutShort
from tests.support.deliveries import LOG, SEGMENT, deliver_to_log, each_once, take_numbers
from tests.support.open_store import OpenStore
from tests.support.site import Site
from tests.support.tracking_lines import assert_each_once as assert_one_line_each
from tests.support.waiting import wait_for

T = TypeVar("T")

DAY = IdWindow(86_400_000, 30_000)


def event(number: int, source: str = "web") -> bytes:
    context = f'{{"{SOURCE_KEY}":"{source}"}}'
    return f'{{"id":"id-{number}","type":"event","name":"a","data":{{}},"context":{context}}}'.encode()


def ask(store: OpenStore, *numbers: int, journal: str = "7-a", at: int = 0, window: IdWindow = DAY) -> str:
    payloads = [event(number) for number in numbers]
    ends = [at + 8 * (place + 1) for place in range(len(numbers))]
    repeats = store.ids.find_repeats(journal, fingerprints(journal, payloads, ends), ends, window)
    assert repeats is not None
    return "".join("again" if one else "new," for one in repeats)


def test_an_id_is_new_once_and_stays_new_at_its_own_place(store: OpenStore) -> None:
    assert ask(store, 1, 2, 1) == "new,new,again"
    assert ask(store, 1, 2, 1) == "new,new,again"
    assert ask(store, 1, at=80) == "again"
    assert ask(store, 1, journal="7-b") == "again"
    assert ask(store, 3, journal="7-b") == "new,"
    assert store.ids.find_repeats("7-b", fingerprints("7-b", [event(1, "app")], [640]), [640], DAY) == [False]


def test_ids_are_remembered_for_the_window(store: OpenStore, clock: Clock) -> None:
    for hours in range(48):
        clock.advance(3600)
        assert ask(store, hours, at=800 * hours) == "new,"
        # Each within a day, and none after a day and a half.
        for age in (1, 12, 23):
            if age <= hours:
                assert ask(store, hours - age, journal="7-b", at=800 * hours) == "again", (hours, age)
    assert ask(store, 0, journal="7-b", at=80_000) == "new,"
    assert store.ids.memory().forgotten_early == 0
    assert store.ids.memory().ids <= 49


def test_beyond_the_limit_the_oldest_ids_go_early_and_are_counted(store: OpenStore) -> None:
    window = IdWindow(DAY.window_ms, 3_000)
    for start in range(0, 10_000, 500):
        ask(store, *range(start, start + 500), at=8 * start, window=window)
    memory = store.ids.memory()
    assert memory == IdMemory(ids=3_000, forgotten_early=7_000)
    assert ask(store, 9_999, 8_001, 0, journal="7-b", window=window) == "againagainnew,"
    # What was forgotten is no longer there, and what is there is compact.
    keys = [key.decode() for key in store.pool.scan(IDS_OF_SLICE.of("emit", "*"), count=1000)]
    assert len(keys) <= 4 * (1_000 // 64 + 1)
    assert {store.pool.execute("OBJECT", "ENCODING", key) for key in keys} <= {b"listpack", b"ziplist"}
    assert all(0 < store.pool.execute("TTL", key) <= 2 * 86_400 for key in keys)


class Unanswered(BatchStore):
    """A store of which one answer is lost: that to the question for ids, or that to a put, carried out in part."""

    def __init__(self, site: Site, chance: random.Random) -> None:
        super().__init__(RedisPool(site.redis.url, timeout_seconds=30))
        self._chance = chance
        for counter in (self.deprecated_calls, self.duplicates):
            counter.count = self._unanswered(counter.count)  # type: ignore[method-assign, union-attr]

        self.ids.find_repeats = self._unanswered(self.ids.find_repeats)  # type: ignore[method-assign]

    def _unanswered(self, ask: Callable[..., T]) -> Callable[..., T]:
        def ask_unanswered(*arguments: Any, **named: Any) -> T:
            answer = ask(*arguments, **named)
            if self._chance.random() < 0.2:
                raise StoreUnavailableError("the connection was cut")
            return answer

        return ask_unanswered

    def close(self) -> None:
        self._pool.close()

    def put_and_ring(self, puts: Sequence[Put], *, here: bool) -> tuple[list[int | None], list[Ring]]:
        if self._chance.random() < 0.2:
            super().put_and_ring(puts[: self._chance.randint(0, len(puts))], here=here)
            raise StoreUnavailableError("the connection was cut")
        return super().put_and_ring(puts, here=here)


class Collectors:
    """Processes that take events by HTTP, as far as a relay sees them; and the relays of the machine."""

    def __init__(self, site: Site, chance: random.Random) -> None:
        site.environ["DISPATCHER_RELAY__MODE"] = "external"
        site.environ["DISPATCHER_DESTINATIONS__TRACKING_LOG__BATCH_EVENTS"] = "5"
        site.environ["DISPATCHER_DESTINATIONS__SEGMENT__BATCH_EVENTS"] = "7"
        self._site, self._chance = site, chance
        self.trackers = [Tracker(site.settings(), ids_repeat=True) for _ in range(3)]
        self.sent: Counter[int] = Counter()
        self._stores: list[Unanswered] = []
        self.relay = self._new_relay()

    def _new_relay(self) -> Relay:
        self._stores.append(Unanswered(self._site, self._chance))
        return Relay(self._site.settings(), store=self._stores[-1])

    def take(self, number: int) -> None:
        """One of them takes an event, as if a client had sent it again to whom the balancer chose."""
        called = {"via": "Logger.log", "script": f"https://example.org/{number % 3}.js"}
        context = {"user_id": 7, "course_id": "org/a/run", CONTEXT_KEY: called, SOURCE_KEY: "web"}
        self._chance.choice(self.trackers).submit(
            "event", "shop.order.paid", {"n": number}, context=context, event_id=f"id-{number}"
        )
        self.sent[number] += 1

    def step(self) -> None:
        """The relay goes on, or another one does."""
        if self._chance.random() < 0.2:
            self.relay.close()
            self.relay = self._new_relay()
        with contextlib.suppress(StoreUnavailableError, PutRefusedError):
            self.relay.step(search=True)

    def finish(self) -> None:
        """Everything is put."""

        def is_drained() -> bool:
            self.step()
            try:
                return self.relay.step(search=True) == 0 and self.relay.is_drained()
            except (StoreUnavailableError, PutRefusedError):
                return False

        wait_for(is_drained, what="everything to be put", every=0.001)
        # It learns what Redis has lost when it asks what is settled; another one does at its start.
        self.relay.close()
        self.relay = Relay(self._site.settings())
        wait_for(lambda: self.relay.step(search=True) == 0 and self.relay.is_drained(), what="everything to be put")

    def play(self, numbers: range, steps: int) -> None:
        """Send each at least once, and some again, while relays go on."""
        todo = [*numbers, *self._chance.choices(numbers, k=len(numbers))]
        self._chance.shuffle(todo)
        for _ in range(steps):
            for _ in range(min(len(todo), self._chance.randint(0, 2 * len(todo) // steps + 1))):
                self.take(todo.pop())
            self.step()
        for number in todo:
            self.take(number)

    def close(self) -> None:
        self.relay.close()
        for tracker in self.trackers:
            tracker.close()
        for store in self._stores:
            store.close()


@pytest.fixture
def collectors(site: Site, request: pytest.FixtureRequest) -> Iterator[Collectors]:
    collectors = Collectors(site, random.Random(request.node.name))
    yield collectors
    collectors.close()


def assert_each_once(site: Site, collectors: Collectors) -> None:
    expected = each_once(len(collectors.sent))
    duplicates = sum(collectors.sent.values()) - len(collectors.sent)
    for name in (LOG, SEGMENT):
        assert take_numbers(site, name) == expected
        assert site.counts(name).filtered_by_reason == {DUPLICATE: duplicates}
    site.assert_ledger_closes()


@pytest.mark.parametrize("history", range(8))
def test_each_id_goes_on_once_whatever_is_interrupted(site: Site, collectors: Collectors, history: int) -> None:
    collectors.play(range(120), steps=40)
    collectors.finish()
    assert_each_once(site, collectors)
    # So are the duplicates of each source, once each.
    assert sum(site.store.duplicates.read().values()) == site.counts("tracking_log").filtered_by_reason[DUPLICATE]
    # So are the deprecated calls by which they came, once each, however often a client sent them.
    found = site.store.deprecated_calls.read(weeks=2, today=datetime.now(UTC).date())
    assert {(one.call, one.event, one.course) for one in found} == {("Logger.log", "shop.order.paid", "org/a/run")}
    assert {one.script: one.count for one in found} == {f"https://example.org/{part}.js": 40 for part in range(3)}


@pytest.mark.parametrize("history", range(4))
def test_a_lost_second_loses_no_event_and_doubles_none_that_waits(
    site: Site, collectors: Collectors, tmp_path: Path, history: int
) -> None:
    collectors.play(range(60), steps=20)
    site.redis.save_to(tmp_path / "kept")
    collectors.play(range(30, 120), steps=20)
    site.redis.bring_back(tmp_path / "kept")
    collectors.play(range(90, 150), steps=10)
    collectors.finish()
    assert_each_once(site, collectors)


@pytest.mark.parametrize(("is_collector", "seconds"), [(True, "0"), (False, "86400")])
def test_without_a_window_or_a_collector_each_event_goes_on(site: Site, is_collector: bool, seconds: str) -> None:
    site.environ["DISPATCHER_RELAY__MODE"] = "external"
    site.environ["DISPATCHER_COLLECTOR__DUPLICATE_SECONDS"] = seconds
    tracker = Tracker(site.settings(), ids_repeat=is_collector)
    relay = Relay(site.settings())
    for _ in range(2):
        tracker.submit("event", "shop.order.paid", {"n": 0}, event_id="id-0")
    wait_for(lambda: relay.step(search=True) == 0 and relay.is_drained(), what="everything to be put")
    assert take_numbers(site) == Counter({0: 2})
    assert site.store.ids.memory() == IdMemory()
    relay.close()
    tracker.close()


def take(tracker: Tracker, *numbers: int) -> None:
    """A collector takes events that a client sends."""
    for n in numbers:
        tracker.submit("event", "shop.order.paid", {"n": n}, event_id=f"id-{n}")


def put_all(relay: Relay) -> None:
    """The store refuses the first step after a loss."""
    with contextlib.suppress(PutRefusedError):
        relay.step(search=True)
    wait_for(lambda: relay.step(search=True) == 0 and relay.is_drained(), what="everything to be put")


@pytest.fixture
def log(site: Site) -> Iterator[TrackingLog]:
    destination = TrackingLog(LOG, TrackingLog.Options(path=site.log))
    yield destination
    destination.close()


@pytest.mark.parametrize("first_copies_are", ["waiting to be settled", "settled"])
def test_a_line_of_a_lost_second_is_not_written_again_for_a_second_copy(
    site: Site, log: TrackingLog, clock: Clock, tmp_path: Path, first_copies_are: str
) -> None:
    site.environ["DISPATCHER_RELAY__MODE"] = "external"
    tracker = Tracker(site.settings(), ids_repeat=True)
    relay = Relay(site.settings(), clock=clock)

    def deliver(*numbers: int) -> None:
        take(tracker, *numbers)
        put_all(relay)
        deliver_to_log(site, log)
        take_numbers(site, SEGMENT)

    deliver(0, 1)
    site.redis.save_to(tmp_path / "kept")
    deliver(2, 3, 4, 2)
    if first_copies_are == "settled":
        clock.advance(2)
        deliver()
    site.redis.bring_back(tmp_path / "kept")
    deliver(3, 5, 1, 4, 5)
    relay.close()
    tracker.close()
    assert_one_line_each(site.log, 6)


def test_a_batch_that_is_put_again_has_the_same_events(site: Site, log: TrackingLog, tmp_path: Path) -> None:
    """Else an event that has come to be in it would be lost: the log writes no batch again that it knows."""
    site.environ["DISPATCHER_RELAY__MODE"] = "external"
    site.redis.save_to(tmp_path / "kept")
    there = Tracker(site.settings(), ids_repeat=True)
    take(there, 0)
    asks = Relay(site.settings(), store=CutShort(site, carried_out=0))
    with pytest.raises(StoreUnavailableError):
        asks.step(search=True)
    # It keeps its outbox while another machine's relay goes on.
    site.environ["DISPATCHER_STATE_DIRECTORY"] = str(tmp_path / "here")
    here = Tracker(site.settings(), ids_repeat=True)
    take(here, 0, 1)
    relay = Relay(site.settings())
    put_all(relay)
    deliver_to_log(site, log)
    site.redis.bring_back(tmp_path / "kept")
    for each in (relay, asks):
        take(here, 2)
        put_all(each)
        deliver_to_log(site, log)
        each.close()
    for tracker in (here, there):
        tracker.close()
    assert_one_line_each(site.log, 3)
