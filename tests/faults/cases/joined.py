"""Deliveries of several batches that were claimed together: their worker is killed, one batch is refused or lost."""

from __future__ import annotations

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.store.batches import BatchStore
from dispatcher.store.claim import Claim
from dispatcher.store.keys import BATCH, CLAIMED
from tests.faults.case import Cases
from tests.faults.cases.kills import kill_a_worker
from tests.faults.count import SEGMENT
from tests.faults.expectation import Expectation
from tests.faults.sink import Behaviour, Messages, Reaction, refusing_poison, slow
from tests.faults.stage import Stage
from tests.support.waiting import wait_for

joined = Cases()

# Seconds that the sink takes for an answer, so that batches wait, and that most kills meet a delivery in progress.
_ANSWER_SECONDS = 0.3
# As _DESTINATION of the stage has it.
_LEASE_SECONDS = 2.0
_REPEATS = Expectation(repeats=True)


@joined.add("kill -9 of workers in the middle of deliveries of several batches", _REPEATS, in_tests=True)
def joined_worker_killed(stage: Stage) -> None:
    requests = _start(stage, slow(_ANSWER_SECONDS))
    stage.strike("kill -9", lambda: kill_a_worker(stage), times=6, pause=(0.5, 2.5))
    requests.check(stage)


@joined.add("the sink refuses one event in a thousand, whose batch was delivered together with others")
def joined_batch_refused(stage: Stage) -> None:
    stage.expects_poison = True

    def behave(messages: Messages) -> Reaction:
        reaction = refusing_poison(messages)
        return Reaction(delay_seconds=_ANSWER_SECONDS) if reaction.takes else reaction

    requests = _start(stage, behave, "--poison")
    stage.during("poison", 3 if stage.short else 8)
    requests.check(stage)


# A lost lease is no kill: the holder delivers what somebody else has claimed meanwhile.
@joined.add("the lease of one batch is lost in the middle of a delivery of several", _REPEATS, in_tests=True)
def joined_lease_lost(stage: Stage) -> None:
    _start(stage, slow(_ANSWER_SECONDS))
    pool = RedisPool(stage.redis.url, timeout_seconds=5)
    stage.strike("lease lost", lambda: _take_one(stage, BatchStore(pool)), times=6, pause=(0.3, 1.0))
    pool.close()


@joined.add(
    "Redis comes back without its last second while deliveries of several batches are under way",
    Expectation(repeats=True, exact=False, quiet_seconds=2.5),
)
def joined_last_second(stage: Stage) -> None:
    requests = _start(stage, slow(_ANSWER_SECONDS))
    stage.lose_last_seconds(pause=(0.5, 1.5))
    requests.check(stage)


class _Requests:
    """Behaves as it is told, and counts the requests that had events of several journals, thus of several batches."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._joined = self._all = 0

    def behave(self, messages: Messages) -> Reaction:
        """As the sink's behaviour."""
        # An event's key begins with the number of its web process, each of which has a journal of its own.
        webs = {message.get("properties", {}).get("k", "").partition(".")[0] for message in messages}
        self._all += 1
        self._joined += len(webs) > 1
        return self._behaviour(messages)

    def check(self, stage: Stage) -> None:
        """Note how many there were. None is a problem: then the case has shown nothing."""
        stage.notes.append(f"{self._joined} of {self._all} requests had events of several batches")
        if not self._joined:
            stage.problems.append("no delivery had several batches")


def _start(stage: Stage, behaviour: Behaviour, *arguments: str) -> _Requests:
    """Start two workers with few places and three web processes, so that batches have to wait and join."""
    requests = _Requests(behaviour)
    stage.sink.behave(requests.behave)
    for name in ("one", "two"):
        stage.workers.start("-n", f"{name}@%h", "-c", "2")
    stage.load(3, *arguments)
    return requests


def _take_one(stage: Stage, store: BatchStore) -> None:
    """End the lease of one batch of a joined claim, and claim it as a worker that is never heard again."""
    with stage.redis.client() as client:

        def of_several() -> list[str]:
            tokens: dict[bytes | None, list[str]] = {}
            for raw in client.zrange(CLAIMED.of(SEGMENT), 0, -1):
                batch_id = raw.decode()
                tokens.setdefault(client.hget(BATCH.of(SEGMENT, batch_id), "token"), []).append(batch_id)
            return next((ids for token, ids in tokens.items() if token and len(ids) > 1), [])

        def take() -> bool:
            for batch_id in of_several()[-1:]:
                # XX: it may be settled by now.
                client.zadd(CLAIMED.of(SEGMENT), {batch_id: 0}, xx=True)
                found = store.claim(SEGMENT, batch_id, token=f"lost-{batch_id}", lease_seconds=_LEASE_SECONDS)
                return isinstance(found, Claim)
            return False

        wait_for(take, what="a delivery of several batches")
