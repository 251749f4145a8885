"""The base of HTTP destinations against a real server: requests at a time, when it stops, what it repeats."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.destinations.base import Batch
from dispatcher.emit.ids import IdSource
from dispatcher.event import Event, encode
from dispatcher.outcomes import DELIVERED, Dead, Outcome, RetryAfter
from dispatcher.store.rate_limit import Permit, Rate, SharedRate
from dispatcher.tasks.destinations.http import HttpDestination, HttpOptions, Limits, Request
from tests.support.ports import free_ports
from tests.support.redis_server import RedisServer
from tests.support.scripts import run_script
from tests.support.vendor import CUT, SILENT, Call, Reply, Vendor
from tests.support.waiting import wait_for

_new_id = IdSource().new


class PlainOptions(HttpOptions):
    endpoint: str


class OneEach(HttpDestination[PlainOptions, dict[str, Any]]):
    """Sends each event in a request of its own, unchanged."""

    Options: ClassVar[type[PlainOptions]] = PlainOptions

    @property
    def endpoint(self) -> str:
        return self.options.endpoint

    def item(self, event: Event) -> dict[str, Any]:
        return {"id": event.id, "n": event.data["n"]}

    def request(self, items: Sequence[dict[str, Any]]) -> Request:
        return Request(url=self.endpoint, body=msgspec.json.encode(items))


class TenEach(OneEach):
    limits = Limits(events=10)


class Taker(Vendor):
    """Takes everything, and can hold back its answers. ``most`` is the highest number of concurrent requests."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0
        self._in_hand = 0
        self._changed = threading.Condition()
        #: Answers wait until it had so many requests in hand at a time.
        self.waits_for = 0
        #: Answers wait for it.
        self.gate = threading.Event()
        self.gate.set()

    def answer(self, call: Call) -> Reply:
        with self._changed:
            self._in_hand += 1
            self.most = max(self.most, self._in_hand)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self.most >= self.waits_for)
        self.gate.wait(60)
        with self._changed:
            self._in_hand -= 1
        return Reply(taken=sent_in(call))

    @property
    def sent(self) -> Counter[str]:
        """How often each event was sent."""
        return Counter(one for call in self.calls for one in sent_in(call))


def sent_in(call: Call) -> list[str]:
    return [item["id"] for item in call.value]


def some_events(count: int) -> list[Event]:
    now = datetime(2026, 11, 23, 12, tzinfo=UTC)
    return [Event(id=_new_id(), name="shop.order.paid", timestamp=now, data={"n": n}, context={}) for n in range(count)]


def a_batch(events: Sequence[Event], **values: Any) -> Batch:
    return Batch(destination="plain", id="b", payloads=tuple(encode(event) for event in events), **values)


def seconds_from_now(seconds: float) -> float:
    return time.monotonic() + seconds


@pytest.fixture
def vendor() -> Iterator[Taker]:
    with Taker() as vendor:
        yield vendor
        vendor.gate.set()


@pytest.fixture
def made() -> Iterator[list[OneEach]]:
    made: list[OneEach] = []
    yield made
    for destination in made:
        destination.close()


@pytest.fixture
def make(vendor: Taker, made: list[OneEach]) -> Any:
    def make(kind: type[OneEach] = OneEach, rate: Rate | None = None, **options: Any) -> OneEach:
        values = {"endpoint": vendor.url, "timeout_seconds": 20} | options
        made.append(kind("plain", PlainOptions(**values), rate=rate))
        return made[-1]

    return make


def fates(outcomes: Sequence[Outcome]) -> Counter[str]:
    """The number of outcomes by kind: delivered, the reason of dead ones, the retry class of others."""
    return Counter(
        one.retry_class if isinstance(one, RetryAfter) else one.reason if isinstance(one, Dead) else "delivered"  # type: ignore[union-attr]
        for one in outcomes
    )


# Some at a time


def test_single_event_requests_are_sent_several_at_a_time(make: Any, vendor: Taker) -> None:
    vendor.waits_for = 4
    outcomes = make().deliver(a_batch(events := some_events(40)))
    assert outcomes == [DELIVERED] * 40
    assert 4 <= vendor.most <= 8
    assert vendor.sent == Counter(event.id for event in events)


def test_many_event_requests_are_sent_one_after_another(make: Any, vendor: Taker) -> None:
    assert make(TenEach).deliver(a_batch(some_events(40))) == [DELIVERED] * 40
    assert (vendor.most, len(vendor.calls)) == (1, 4)


def test_all_batches_of_a_process_share_the_concurrency(make: Any, vendor: Taker) -> None:
    vendor.waits_for = 3
    destination = make(concurrency=3)
    with ThreadPoolExecutor(4) as workers:
        found = list(workers.map(destination.deliver, [a_batch(some_events(20)) for _ in range(4)]))
    assert found == [[DELIVERED] * 20] * 4
    assert vendor.most == 3


@pytest.mark.parametrize("kind", [OneEach, TenEach], ids=["one each", "ten each"])
def test_a_concurrency_setting_holds_for_batches_of_one_request_too(
    make: Any, vendor: Taker, kind: type[OneEach]
) -> None:
    destination = make(kind, concurrency=1)
    with ThreadPoolExecutor(4) as workers:
        found = list(workers.map(destination.deliver, [a_batch(some_events(1)) for _ in range(12)]))
    assert found == [[DELIVERED]] * 12
    assert vendor.most == 1


def test_a_small_batch_does_not_wait_for_an_earlier_large_one(make: Any, vendor: Taker) -> None:
    prepared: list[str] = []

    class Watched(OneEach):
        def item(self, event: Event) -> dict[str, Any]:
            prepared.append(event.id)
            return super().item(event)

    destination = make(Watched, concurrency=2)
    vendor.gate.clear()
    with ThreadPoolExecutor(2) as workers:
        large = workers.submit(destination.deliver, a_batch(some_events(60)))
        wait_for(lambda: len(vendor.calls) == 2, what="the large batch to be under way")
        small = workers.submit(destination.deliver, a_batch(events := some_events(4)))
        wait_for(lambda: len(prepared) == 64, what="the small one to be about to send")
        vendor.gate.set()
        assert large.result() == [DELIVERED] * 60
        assert small.result() == [DELIVERED] * 4
    order = [one for call in vendor.calls for one in sent_in(call)]
    assert max(order.index(event.id) for event in events) < 20


def test_outcomes_keep_the_order_of_events_whichever_answer_comes_first(make: Any, vendor: Taker) -> None:
    events = some_events(30)
    refused = {event.id for event in events[::7]}

    class Picky(OneEach):
        def request(self, items: Sequence[dict[str, Any]]) -> Request:
            bad = {"X-Bad": "1"} if items[0]["id"] in refused else {}
            return Request(url=self.endpoint, body=msgspec.json.encode(items), headers=bad)

    answer = vendor.answer
    vendor.answer = lambda call: Reply(status=400) if "x-bad" in call.headers else answer(call)  # type: ignore[method-assign]
    outcomes = make(Picky).deliver(a_batch(events))
    assert [isinstance(one, Dead) for one in outcomes] == [event.id in refused for event in events]


# Going on, and stopping


def test_one_event_that_fails_does_not_stop_the_others(make: Any, vendor: Taker) -> None:
    vendor.script = [Reply(status=500)]
    assert fates(make().deliver(a_batch(some_events(20)))) == {"delivered": 19, "transient": 1}


def test_three_failures_in_a_row_leave_the_rest_untried(make: Any, vendor: Taker) -> None:
    vendor.always = Reply(status=500)
    assert fates(make(concurrency=4).deliver(a_batch(some_events(40)))) == {"transient": 40}
    # Three, and those that were running when the third was answered.
    assert 3 <= len(vendor.calls) <= 3 + 3


@pytest.mark.parametrize("reply", [SILENT, CUT], ids=["silent", "cut"])
def test_a_missing_answer_leaves_the_rest_untried(make: Any, vendor: Taker, reply: Reply) -> None:
    vendor.always = reply
    assert fates(make(concurrency=4, timeout_seconds=0.3).deliver(a_batch(some_events(40)))) == {"transient": 40}
    assert 1 <= len(vendor.calls) <= 4


@pytest.mark.parametrize(("status", "retry_class"), [(429, "throttled"), (401, "setup")])
def test_throttling_and_refused_credentials_stop_the_rest_at_once(
    make: Any, vendor: Taker, status: int, retry_class: str
) -> None:
    vendor.always = Reply(status=status, headers={"Retry-After": "7"})
    outcomes = make(concurrency=1).deliver(a_batch(some_events(20)))
    assert fates(outcomes) == {retry_class: 20}
    assert {one.seconds for one in outcomes} == {7}
    assert len(vendor.calls) == 1


def test_nothing_is_sent_after_the_lease_expired(make: Any, vendor: Taker) -> None:
    assert fates(make().deliver(a_batch(some_events(5), lease_until=seconds_from_now(-1)))) == {"rate_limited": 5}
    assert not vendor.calls


def test_events_the_lease_leaves_no_time_for_wait_and_have_not_failed(make: Any, vendor: Taker) -> None:
    vendor.gate.clear()
    lease_until = seconds_from_now(3)
    with ThreadPoolExecutor(1) as worker:
        delivery = worker.submit(make(concurrency=2).deliver, a_batch(some_events(20), lease_until=lease_until))
        wait_for(lambda: len(vendor.calls) == 2 and time.monotonic() > lease_until, what="the lease to run out")
        vendor.gate.set()
        assert fates(delivery.result()) == {"delivered": 2, "rate_limited": 18}
    assert len(vendor.calls) == 2


def test_no_request_begins_that_might_end_after_the_lease(make: Any, vendor: Taker) -> None:
    # Longer than a request may take, so that one can be sent at once; but not another one a little later.
    destination = make(concurrency=1, timeout_seconds=20, connect_timeout_seconds=1)
    vendor.gate.clear()
    with ThreadPoolExecutor(1) as worker:
        batch = a_batch(some_events(2), lease_until=seconds_from_now(21.5))
        delivery = worker.submit(destination.deliver, batch)
        wait_for(lambda: len(vendor.calls) == 1, what="the first request")
        time.sleep(0.6)
        vendor.gate.set()
        assert fates(delivery.result()) == {"delivered": 1, "rate_limited": 1}


# Mistakes in a vendor's module


class Mistaken(OneEach):
    def item(self, event: Event) -> dict[str, Any]:
        if event.data["n"] == 3:
            raise KeyError("person@example.org")
        return super().item(event)

    def outcome(self, answer: Any, items: Sequence[dict[str, Any]]) -> Outcome:
        if answer.status == 299:
            raise TypeError("person@example.org")
        return super().outcome(answer, items)


def test_an_event_that_crashes_the_mapping_is_dead_and_no_other_is(make: Any, vendor: Taker) -> None:
    outcomes = make(Mistaken).deliver(a_batch(some_events(10)))
    assert fates(outcomes) == {"delivered": 9, "transform": 1}
    assert "KeyError in Mistaken" in outcomes[3].error
    assert "person" not in outcomes[3].error


class Unbuildable(TenEach):
    error: ClassVar[Exception] = KeyError("person@example.org")

    def request(self, items: Sequence[dict[str, Any]]) -> Request:
        if any(item["n"] == 3 for item in items):
            raise self.error
        return super().request(items)


class TooDeep(Unbuildable):
    error = RecursionError("person@example.org")


@pytest.mark.parametrize("request_bytes", [None, 100_000])
def test_a_request_that_cannot_be_built_was_not_taken(make: Any, vendor: Taker, request_bytes: int | None) -> None:
    destination = make(Unbuildable, at_most_once=True)
    destination.limits = Limits(events=10, request_bytes=request_bytes)
    outcomes = destination.deliver(a_batch(some_events(20)))
    assert fates(outcomes) == {"transient": 20}
    assert "KeyError in Unbuildable" in outcomes[0].error
    assert "person" not in outcomes[0].error


@pytest.mark.parametrize("request_bytes", [None, 100_000])
def test_the_event_that_nests_too_deeply_is_dead_alone(make: Any, vendor: Taker, request_bytes: int | None) -> None:
    destination = make(TooDeep, at_most_once=True)
    destination.limits = Limits(events=10, request_bytes=request_bytes)
    events = some_events(20)
    outcomes = destination.deliver(a_batch(events))
    assert fates(outcomes) == {"delivered": 19, "invalid": 1}
    assert isinstance(outcomes[3], Dead)
    assert not outcomes[3].asked
    assert vendor.sent == Counter(event.id for number, event in enumerate(events) if number != 3)


def test_an_answer_that_crashes_the_module_is_retried_and_undoes_no_other(make: Any, vendor: Taker) -> None:
    vendor.script = [Reply(status=299)]
    outcomes = make(Mistaken, concurrency=1).deliver(a_batch([*some_events(3)]))
    assert fates(outcomes) == {"transient": 3}
    assert outcomes[0].error.startswith("TypeError in Mistaken")
    vendor.script = [Reply(status=200), Reply(status=200), Reply(status=299)]
    assert fates(make(Mistaken, concurrency=1).deliver(a_batch(some_events(3)))) == {"delivered": 2, "transient": 1}


# At most once


def deliver_all(first: OneEach, then: OneEach, events: Sequence[Event]) -> Counter[str]:
    """Deliver and retry as workers would. Returns the number of final outcomes by kind."""
    destination = first
    found: Counter[str] = Counter()
    left = list(events)
    for _ in range(20):
        outcomes = destination.deliver(a_batch(left))
        found += fates([one for one in outcomes if not isinstance(one, RetryAfter)])
        left = [event for event, one in zip(left, outcomes, strict=True) if isinstance(one, RetryAfter)]
        destination = then
        if not left:
            return found
    raise AssertionError(f"{len(left)} are still left")


@pytest.mark.parametrize("kind", [OneEach, TenEach], ids=["one each", "ten each"])
@pytest.mark.parametrize(
    ("reply", "lost"),
    [
        (SILENT, True),
        (CUT, True),
        *((Reply(status=status), status in {500, 502, 504}) for status in (408, 425, 429, 500, 502, 503, 504)),
    ],
    ids=["silent", "cut", "408", "425", "429", "500", "502", "503", "504"],
)
def test_at_most_once_resends_all_but_maybe_delivered_events(
    make: Any, vendor: Taker, kind: type[OneEach], reply: Reply, lost: bool
) -> None:
    events = some_events(20)
    vendor.script = [reply]
    # Silence ends the first delivery, so that only this one request has so short a timeout.
    first = make(kind, at_most_once=True, concurrency=1, timeout_seconds=0.3 if reply is SILENT else 20)
    found = deliver_all(first, make(kind, at_most_once=True, concurrency=1), events)

    troubled = sent_in(vendor.calls[0])
    assert len(troubled) == (1 if kind is OneEach else 10)
    unanswered = len(troubled) if lost else 0
    assert found == Counter(delivered=20 - unanswered, unanswered=unanswered)
    assert vendor.sent == Counter({e.id: 1 if lost or e.id not in troubled else 2 for e in events})


def test_without_at_most_once_maybe_delivered_events_are_resent(make: Any, vendor: Taker) -> None:
    vendor.script = [CUT]
    assert deliver_all(destination := make(TenEach), destination, some_events(20)) == {"delivered": 20}
    assert sorted(vendor.sent.values()) == [1] * 10 + [2] * 10


def test_a_refused_connection_does_not_count_as_maybe_delivered(make: Any) -> None:
    destination = make(at_most_once=True, endpoint=f"http://127.0.0.1:{free_ports(1)[0]}")
    assert fates(destination.deliver(a_batch(some_events(20)))) == {"transient": 20}


def test_a_silent_vendor_makes_only_running_requests_maybe_delivered(make: Any, vendor: Taker) -> None:
    vendor.always = SILENT
    found = fates(make(at_most_once=True, concurrency=2, timeout_seconds=0.3).deliver(a_batch(some_events(40))))
    assert found["unanswered"] == len(vendor.calls) <= 2
    assert found["transient"] == 40 - len(vendor.calls)


def test_events_a_killed_worker_may_have_sent_are_not_resent(make: Any, vendor: Taker) -> None:
    batch = a_batch(some_events(5), maybe_delivered=True)
    assert fates(make(at_most_once=True).deliver(batch)) == {"maybe_delivered": 5}
    assert not vendor.calls
    assert make().deliver(batch) == [DELIVERED] * 5


def test_bisection_does_not_resend_maybe_delivered_events(make: Any, vendor: Taker) -> None:
    events = some_events(8)
    vendor.script = [Reply(status=400), CUT]
    destination = make(TenEach, at_most_once=True)
    outcomes = destination.deliver(a_batch(events))
    # The whole batch is refused, its first half gets no answer, and the second half waits untried.
    assert [type(one) for one in outcomes] == [Dead] * 4 + [RetryAfter] * 4
    assert fates(outcomes) == {"unanswered": 4, "transient": 4}
    assert [len(sent_in(call)) for call in vendor.calls] == [8, 4]
    assert destination.deliver(a_batch(events[4:])) == [DELIVERED] * 4
    assert [vendor.sent[event.id] for event in events] == [2] * 8


# The rate


def test_throttling_lowers_the_rate_and_the_rest_goes_on(make: Any, vendor: Taker, redis_server: RedisServer) -> None:
    pool = RedisPool(redis_server.url, timeout_seconds=30)
    rate = SharedRate(pool, "plain", per_second=200)
    vendor.script = [Reply(status=429)]
    outcomes = make(rate=rate).deliver(a_batch(some_events(10)))
    assert fates(outcomes) == {"delivered": 9, "rate_limited": 1}
    assert next(one.error for one in outcomes if isinstance(one, RetryAfter)).endswith("answered 429 Too Many Requests")
    pool.close()


def test_events_that_would_wait_too_long_for_a_permit_are_parked(
    make: Any, vendor: Taker, redis_server: RedisServer
) -> None:
    pool = RedisPool(redis_server.url, timeout_seconds=30)
    outcomes = make(rate=SharedRate(pool, "plain", per_second=0.001)).deliver(a_batch(some_events(10)))
    assert fates(outcomes) == {"delivered": 1, "rate_limited": 9}
    assert {900 < one.seconds <= 1000 for one in outcomes if isinstance(one, RetryAfter)} == {True}
    assert len(vendor.calls) == 1
    pool.close()


def test_without_the_rate_store_nothing_is_sent_and_nothing_has_failed(make: Any, vendor: Taker) -> None:
    away = SharedRate(RedisPool("redis://127.0.0.1:1", timeout_seconds=30), "plain", per_second=10)
    outcomes = make(rate=away).deliver(a_batch(some_events(10)))
    assert fates(outcomes) == {"rate_limited": 10}
    assert "the rate is not known" in outcomes[0].error
    assert not vendor.calls


class OthersFirst:
    """Gives no permit for some seconds."""

    def __init__(self, seconds: float) -> None:
        self.permit = Permit(wait_seconds=seconds, is_granted=False, spacing_seconds=2)

    def take(self, max_wait_seconds: float) -> Permit:
        return self.permit

    def is_valid(self, permit: Permit) -> bool:
        return True

    def record(self, permit: Permit, outcome: Outcome) -> Outcome:
        return outcome


@pytest.mark.parametrize(("seconds", "asked"), [(2, 2), (7, 7), (8, 8 + 10 * 2)], ids=["one", "slow", "several"])
def test_a_batch_is_parked_until_the_batches_before_it_are_sent(
    make: Any, vendor: Taker, seconds: float, asked: float
) -> None:
    outcomes = make(rate=OthersFirst(seconds)).deliver(a_batch(some_events(10)))
    assert {(one.retry_class, one.seconds) for one in outcomes if isinstance(one, RetryAfter)} == {
        ("rate_limited", asked)
    }
    assert not vendor.calls


class WithdrawnPermits:
    """Withdraws the first permit before its time."""

    def __init__(self) -> None:
        self.taken = 0

    def take(self, max_wait_seconds: float) -> Permit:
        self.taken += 1
        return Permit(wait_seconds=0.001)

    def is_valid(self, permit: Permit) -> bool:
        return self.taken > 1

    def record(self, permit: Permit, outcome: Outcome) -> Outcome:
        return outcome


def test_a_permit_withdrawn_while_waiting_is_requested_again(make: Any, vendor: Taker) -> None:
    rate = WithdrawnPermits()
    assert make(rate=rate).deliver(a_batch(some_events(1))) == [DELIVERED]
    assert (rate.taken, len(vendor.calls)) == (2, 1)


# Threads and processes


def its_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("plain-")]


def test_close_ends_all_threads_and_may_be_called_twice(make: Any, vendor: Taker) -> None:
    destination = make()
    destination.deliver(a_batch(some_events(10)))

    assert its_threads()
    destination.close()
    assert not its_threads()
    destination.close()


FORK = """
from dispatcher import config
from dispatcher.store.batches import BatchStore
from dispatcher.connections.redis_pool import RedisPool
from dispatcher.tasks.delivery.task import Delivery
from tests.integration.test_http_destination import OneEach, PlainOptions, a_batch, some_events
from dispatcher.outcomes import DELIVERED

table = config.DestinationSettings.model_validate({"type": "plain"})
store = BatchStore(RedisPool("redis://127.0.0.1:1", timeout_seconds=1))
endpoint = (root / "url").read_text()
delivery = Delivery(store, "plain", table, lambda: OneEach("plain", PlainOptions(endpoint=endpoint)))
before = delivery.destination
assert before.deliver(a_batch(some_events(20))) == [DELIVERED] * 20
assert delivery.destination is before
child = os.fork()
if not child:
    assert delivery.destination is not before
    assert delivery.destination.deliver(a_batch(some_events(20))) == [DELIVERED] * 20
    print("the child has delivered", flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert delivery.destination is before
assert before.deliver(a_batch(some_events(20))) == [DELIVERED] * 20
"""


def test_a_forked_process_has_its_own_connections_and_threads(vendor: Taker, tmp_path: Path) -> None:
    (tmp_path / "url").write_text(vendor.url)
    assert run_script(FORK, tmp_path).strip() == "the child has delivered"
    assert len(vendor.calls) == 60
