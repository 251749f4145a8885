"""The batch store against a plain model of it: any commands in any order, with a clock that jumps, a Redis that is full
or has forgotten the script, and journals that it no longer knows. After each command both look the same.

A failure names its seed: DISPATCHER_MODEL_SEED=17 runs that one alone, DISPATCHER_MODEL_SEEDS=5000 so many.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any, Final

import pytest

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.errors import StoreUnavailableError
from dispatcher.store import keys
from dispatcher.store.batches import BatchStore
from dispatcher.store.claim import Claim, Claimed, JoinLimits
from dispatcher.store.dead_event import DeadEvent
from dispatcher.store.dead_letters import DeadLetters
from dispatcher.store.doorbell import Ring
from dispatcher.store.mailboxes import STATUSES, Mailboxes
from dispatcher.store.packing import pack
from dispatcher.store.put import Put
from dispatcher.store.settlement import PostedEvent, Settlement
from tests.support.batches_model import Model, RefusedError
from tests.support.modelled_batch import Batch
from tests.support.redis_keys import owner_of
from tests.support.redis_server import RedisServer

SEEDS: Final = int(os.environ.get("DISPATCHER_MODEL_SEEDS", "150"))
ONLY_SEED: Final = os.environ.get("DISPATCHER_MODEL_SEED")
STEPS: Final = 40

NAMES: Final = ("tracking_log", "segment")
JOURNALS: Final = ("7-a", "8-b")
MAILBOXES: Final = ("a" * 32, "b" * 32)
# Bytes of an event in a journal.
FRAME: Final = 10
LEASE_MS: Final = 60_000
START_MS: Final = 1_000_000_000
# Jumps of the clock: past what is held back, leases, pauses, lost rings and unsure dead letters, and backwards.
JUMPS_MS: Final = (0, 1, 99, 100, 999, 5_000, 9_999, 10_000, 60_000, 600_001, 7 * 86_400_000)
JUMPS_BACK_MS: Final = (-1, -5_000, -60_000, -86_400_000)


class Walk:
    """The random walk of one seed: each step sends a command to the store and the model, and compares both."""

    def __init__(self, server: RedisServer, seed: int) -> None:
        self.random = random.Random(seed)
        self.now_ms = START_MS
        self.pool = RedisPool(server.url, timeout_seconds=30)
        self.store = BatchStore(self.pool, clock=lambda: (self.now_ms + 0.5) / 1000)
        self.mailboxes = Mailboxes(self.pool, clock=lambda: (self.now_ms + 0.5) / 1000)
        self.letters = DeadLetters(self.pool, clock=lambda: (self.now_ms + 0.5) / 1000)
        self.models = {name: Model() for name in NAMES}
        self.held: list[Claim] = []
        self.held_together: list[Sequence[Claim]] = []
        self.ids: list[str] = ["7-a-999", "nothing"]
        self.history: list[str] = []
        self.is_full = False
        self.tokens = 0

    def run(self, steps: int) -> None:
        self.pool.execute("CONFIG", "SET", "maxmemory", "0")
        self.pool.execute("FLUSHALL")
        commands: list[Callable[[str, Model], None]] = [
            *[self.put] * 5,
            *[self.claim] * 3,
            *[self.claim_all] * 4,
            *[self.settle] * 3,
            *[self.settle_all] * 4,
            self.lose_leases,
            self.progress,
            self.due,
            self.due,
            self.revive,
            self.drop,
            self.file,
            self.file,
            self.forget_filed,
            self.restore,
            *[self.acknowledge] * 2,
            self.expire,
            self.jump,
            self.jump,
            self.lose_a_journal,
            self.fill_or_empty,
            self.flush_scripts,
        ]
        for _ in range(steps):
            name = self.random.choice(NAMES)
            command = self.random.choice(commands)
            self.history.append(f"{command.__name__} {name}")
            for model in self.models.values():
                model.now_ms, model.is_full = self.now_ms, self.is_full
            command(name, self.models[name])
            self.compare(name)
        self.pool.execute("CONFIG", "SET", "maxmemory", "0")

    # Commands.

    def put(self, name: str, model: Model) -> None:
        journal = self.random.choice(JOURNALS)
        at = max(0, model.position(journal))
        start = max(0, at + FRAME * self.random.choice((0, 0, 0, 0, -1, -2, -3, -8, 1)))
        puts, shares = [], []
        for _ in range(self.random.choice((1, 1, 1, 2, 3))):
            end = start + FRAME * self.random.randint(1, 4)
            after = self.random.choice((start, min(at, start), -1, start + FRAME))
            put, payloads = a_put(name, journal, start, end, after)
            put = replace(put, again=self.random.random() < 0.1)
            puts.append(put)
            shares.append(payloads)
            start = end
        self.history[-1] += f" {[(put.batch_id, put.start, put.end, put.after, put.count) for put in puts]}"
        self.ids += [put.batch_id for put in puts if put.count]
        expected: list[int | None] = []
        refused = False
        for put, payloads in zip(puts, shares, strict=True):
            try:
                expected.append(model.put(put, payloads))
            except RefusedError:
                refused = True
        if refused:
            with pytest.raises(StoreUnavailableError, match="maxmemory"):
                self.store.put(puts)
        else:
            assert self.store.put(puts) == expected

    def progress(self, name: str, model: Model) -> None:
        journal = self.random.choice(JOURNALS)
        found = self.store.progress([name], journal)[name]
        assert (found.put, found.open) == model.progress(journal)

    def claim(self, name: str, model: Model) -> None:
        self._claim(name, model, self.random.choice([*model.batches, *model.batches, self.random.choice(self.ids)]))

    def lose_leases(self, name: str, model: Model) -> None:
        """Several workers in a row claim a batch and die."""
        if not model.batches:
            return
        batch_id = self.random.choice([*model.batches])
        for _ in range(self.random.randint(2, 7)):
            self._claim(name, model, batch_id)
            self.now_ms += LEASE_MS + 1
            model.now_ms = self.now_ms
            self.compare(name)

    def _claim(self, name: str, model: Model, batch_id: str) -> None:
        self.tokens += 1
        token = str(self.tokens)
        before = model.batches[batch_id].unheard if batch_id in model.batches else 0
        expected = model.claim(batch_id, token, LEASE_MS)
        self.history[-1] += f" {batch_id}"
        found = self.store.claim(name, batch_id, token=token, lease_seconds=LEASE_MS / 1000)
        if isinstance(expected, str):
            assert found == expected
            return
        assert isinstance(found, Claim), found
        self._compare_claim(found, expected, before)

    def _compare_claim(self, found: Claim, expected: Batch, before: int) -> None:
        assert (list(found.payloads), list(found.rest)) == (
            expected.handed_out,
            expected.payloads[len(found.payloads) :],
        )
        assert (found.batch_id, found.first, found.condemned) == (expected.id, expected.first, expected.condemned)
        assert (found.attempts, found.put_ms) == (expected.attempts, expected.put_ms)
        assert (found.maybe_delivered, found.claimed_ms) == (before > 0, self.now_ms)
        self.held.append(found)

    def claim_all(self, name: str, model: Model) -> None:
        """Answer a doorbell, which names a batch that waits, or one that does no longer."""
        batch_id = self.random.choice([*model.batches, *model.batches, self.random.choice(self.ids)])
        limits = self.random.choice((None, *[JoinLimits(events=n, bytes=n * 100) for n in (1, 3, 6, 12, 400)]))
        self.tokens += 1
        token, before = str(self.tokens), {one.id: one.unheard for one in model.batches.values()}
        self.history[-1] += f" {batch_id} {limits}"
        expected = model.claim_all(batch_id, token, LEASE_MS, limits)
        found = self.store.claim_all(name, batch_id, token=token, lease_seconds=LEASE_MS / 1000, limits=limits)
        if isinstance(expected, str):
            assert found == expected
            return
        assert isinstance(found, Claimed), found
        assert [claim.batch_id for claim in found.claims] == [one.id for one in expected]
        for claim, one in zip(found.claims, expected, strict=True):
            self._compare_claim(claim, one, before[one.id])
        self.held_together.append(found.claims)
        compare_ring(found.ring, model.ring_for_next())

    def settle_all(self, name: str, model: Model) -> None:
        """Settle what was claimed together, or a part of it, or what is settled already."""
        mine = [claims for claims in self.held_together if claims[0].destination == name]
        if not mine:
            return
        claims = self.random.choice(mine[-4:])
        settlements = [(claim, self._settlement(claim)) for claim in claims if self.random.random() < 0.8]
        if not settlements:
            return
        self.history[-1] += f" {[claim.batch_id for claim, _ in settlements]} by {claims[0].token}"
        found = self.store.settle_all(settlements)
        assert [one is not None for one in found] == [model.settle(*both) for both in settlements]
        if found[-1] is not None:
            compare_ring(found[-1].ring, model.ring_for_next())

    def settle(self, name: str, model: Model) -> None:
        claim = self._held(name)
        if claim is None:
            return
        settlement = self._settlement(claim)
        self.history[-1] += f" {claim.batch_id} by {claim.token}"
        assert (self.store.settle(claim, settlement) is not None) == model.settle(claim, settlement)

    def due(self, name: str, model: Model) -> None:
        idle = self.random.random() < 0.5
        # It expires by the clock of Redis itself, for which a walk does not wait.
        self.pool.execute("DEL", keys.BELL.of(name))
        found, batch = self.store.due(name, idle=idle), model.due(idle=idle)
        compare_ring(found, batch)

    def revive(self, name: str, model: Model) -> None:
        letters = self._letters(name)
        places = self._places(letters)
        if not places:
            return
        ids = [letters[place] if place < len(letters) else "1-1" for place in places]
        batch_id = f"replay-{ids[0]}"
        payloads = [model.letters[place].body if place < len(letters) else b"" for place in places]
        self.ids.append(batch_id)
        self.history[-1] += f" {ids}"
        assert self.letters.revive(name, batch_id, payloads, ids) == model.revive(batch_id, places)

    def drop(self, name: str, model: Model) -> None:
        letters = self._letters(name)
        places = self._places(letters)
        ids = [letters[place] if place < len(letters) else "1-1" for place in places]
        self.history[-1] += f" {ids}"
        assert self.letters.drop(name, ids) == model.drop(places)

    def file(self, name: str, model: Model) -> None:
        """File dead letters as a worker does, or as one that is killed before it reports them."""
        most, age_ms = self.random.choice((700, 1_500, 1_500, 100_000)), self.random.choice((0, 0, 60_000))
        going_on, is_killed = self.random.random() < 0.3, self.random.random() < 0.2
        # It expires by the clock of Redis itself, like that of the bell.
        self.pool.execute("DEL", keys.FILING.of(name))
        letters = self._letters(name)
        found = self.letters.overdue(
            name, max_bytes=most, max_age_seconds=age_ms / 1000, every_seconds=1, going_on=going_on
        )
        places = model.overdue(most=most, age_ms=age_ms, going_on=going_on)
        assert found == [letters[place] for place in places]
        if not is_killed:
            assert self.letters.mark_filed(name, found) == len(places)
            # Put by a relay that is as far behind.
            assert self.letters.mark_filed(name, found) == 0
            model.file(places)

    def restore(self, name: str, model: Model) -> None:
        start = self.random.randint(0, 3)
        payloads = [b"%d" % number for number in range(start, start + self.random.randint(1, 3))]
        put = Put(
            destination=name,
            journal="dead-1f",
            start=start,
            end=start + len(payloads),
            packed=pack(payloads),
            count=len(payloads),
        )
        self.ids.append(put.batch_id)
        try:
            expected = model.restore(put, payloads)
        except RefusedError:
            with pytest.raises(StoreUnavailableError, match="maxmemory"):
                self.store.restore(put)
        else:
            assert self.store.restore(put) == expected

    def forget_filed(self, name: str, model: Model) -> None:
        assert self.letters.forget_filed(name) == model.forget_filed()

    def acknowledge(self, name: str, model: Model) -> None:
        """A page acknowledges what waits for it, or for another, or is yet to be posted, or never is."""
        known = [*model.mailboxes.waiting, *((box, "5") for box in MAILBOXES)]
        mailbox = self.random.choice(MAILBOXES)
        ids = self.random.sample([event_id for _, event_id in known], k=self.random.randint(1, min(3, len(known))))
        acks = [(event_id, self.random.choice(sorted(STATUSES))) for event_id in ids]
        self.history[-1] += f" {mailbox} {acks}"
        assert self.mailboxes.acknowledge([mailbox], {name: acks}) == model.acknowledge(mailbox, acks)
        if self.random.random() < 0.7:
            found = self.mailboxes.fetch([name], [mailbox], limit=1000)
            assert sorted(one.id for one in found) == model.mailboxes.fetch(mailbox)

    def expire(self, name: str, model: Model) -> None:
        assert self.mailboxes.expire(name) == model.expire()

    def jump(self, name: str, model: Model) -> None:
        self.now_ms = max(1, self.now_ms + self.random.choice(JUMPS_MS + JUMPS_BACK_MS))
        self.history[-1] += f" to {self.now_ms}"

    def lose_a_journal(self, name: str, model: Model) -> None:
        """Lose a key, as if it had expired or was evicted."""
        journal = self.random.choice(JOURNALS)
        self.history[-1] += f" {journal}"
        self.pool.execute("DEL", keys.JOURNAL.of(name, journal))
        model.forget(journal)

    def fill_or_empty(self, name: str, model: Model) -> None:
        self.is_full = not self.is_full
        self.pool.execute("CONFIG", "SET", "maxmemory", "1" if self.is_full else "0")

    def flush_scripts(self, name: str, model: Model) -> None:
        self.pool.execute("SCRIPT", "FLUSH")

    # Comparisons.

    def compare(self, name: str) -> None:
        model = self.models[name]
        counts = self.store.counts([name])[name]
        assert counts.closes, counts
        seen = Seen(self.pool, name)
        seen.check(counts_of={"queued": counts.queued, "claimed": counts.claimed, "parked": counts.parked})
        known = asdict(counts)
        for field, expected in model.counts().items():
            found = known[field]
            if isinstance(expected, Counter):
                found = {reason: number for reason, number in found.items() if number}
            assert found == expected, f"{field}: {found}, but {expected} in the model"
        assert seen.states == model.states()
        assert seen.open == model.open_batches()
        assert seen.letters == [(one.reason, one.error, one.body, one.attempts) for one in model.letters]

    # Choices.

    def _held(self, name: str) -> Claim | None:
        mine = [claim for claim in self.held if claim.destination == name]
        return self.random.choice(mine[-6:]) if mine else None

    def _settlement(self, claim: Claim) -> Settlement:
        kinds = self.random.choice(("d", "d", "x", "f", "l", "p", "dx", "dl", "xl", "pd", "dxflp"))
        fates = [(self.random.choice(kinds), payload) for payload in claim.payloads]
        left = [payload for fate, payload in fates if fate == "l"]
        return Settlement(
            delivered=sum(fate == "d" for fate, _ in fates),
            filtered=Counter(self.random.choice(("opted_out", "consent")) for fate, _ in fates if fate == "f"),
            dead=[
                DeadEvent(self.random.choice(("invalid", "oversized")), "no", payload)
                for fate, payload in fates
                if fate == "x"
            ],
            posted=[
                PostedEvent(self.random.choice(MAILBOXES), payload.decode(), b"[]", payload)
                for fate, payload in fates
                if fate == "p"
            ],
            keep_seconds=self.random.choice((5.0, 3600.0)),
            left=left,
            due_ms=self.now_ms + self.random.choice((0, 1, 5_000, 300_000)) if left else 0,
            burns_attempt=self.random.random() < 0.5,
            error=self.random.choice(("", "503")) if left else "",
        )

    def _letters(self, name: str) -> list[str]:
        return [letter_id.decode() for letter_id, _ in self.pool.execute("XRANGE", keys.DEAD.of(name), "-", "+")]

    def _places(self, letters: Sequence[str]) -> list[int]:
        places = self.random.sample(range(len(letters)), k=self.random.randint(0, min(3, len(letters))))
        odd = self.random.random()
        if odd < 0.1:
            places.append(len(letters))
        elif odd < 0.2 and places:
            places.append(places[0])
        return places


class Seen:
    """The data of one destination in Redis, without the counters."""

    def __init__(self, pool: RedisPool, name: str) -> None:
        pattern = f"{keys.prefix(name).replace('{', '[{]')}*"
        names = sorted(key.decode() for key in pool.execute("KEYS", pattern))
        types = pool.execute_many([("TYPE", key) for key in names]) if names else []
        # One may expire between the two questions.
        found = [(key, answer.decode()) for key, answer in zip(names, types, strict=True) if answer != b"none"]
        names = [key for key, _ in found]
        owners = [owner_of(key) for key in names]
        assert [owner.type for owner in owners] == [answer for _, answer in found]
        opens = [key for key, owner in zip(names, owners, strict=True) if owner is keys.OPEN]
        batches = [key for key, owner in zip(names, owners, strict=True) if owner is keys.BATCH]
        zsets = [*(key.of(name) for key in (*keys.STATES, keys.SINCE)), *opens]
        answers = iter(
            pool.execute_many(
                [
                    *(("ZRANGE", zset, 0, -1, "WITHSCORES") for zset in zsets),
                    *(("HGETALL", batch) for batch in batches),
                    ("XRANGE", keys.DEAD.of(name), "-", "+"),
                ]
            )
        )
        self.zsets = {zset.removeprefix(keys.prefix(name)): scores(next(answers)) for zset in zsets}
        self.hashes = {batch.removeprefix(keys.BATCH.of(name)): fields(next(answers)) for batch in batches}
        self.letters = [letter(fields(entry)) for _, entry in next(answers)]

    @property
    def states(self) -> dict[str, tuple[Any, ...]]:
        """The states in the form of Model.states."""
        found = {}
        for state in ("queued", "claimed", "parked"):
            for batch_id, score in self.zsets[state].items():
                batch = self.hashes[batch_id]
                numbers = (int(batch[name]) for name in ("n", "attempts", "claims", "put_at"))
                found[batch_id] = (state, score, *numbers)
        return found

    @property
    def open(self) -> dict[str, dict[str, int]]:
        """The open batches in the form of Model.open_batches."""
        return {key.removeprefix("open:"): members for key, members in self.zsets.items() if key.startswith("open:")}

    def check(self, *, counts_of: dict[str, int]) -> None:
        """Check that each id is in one state, has its events, and is counted there."""
        everywhere = Counter(batch_id for state in counts_of for batch_id in self.zsets[state])
        assert all(times == 1 for times in everywhere.values()), f"in two states: {everywhere}"
        assert everywhere.keys() == self.zsets["since"].keys() == self.hashes.keys()
        for state, count in counts_of.items():
            assert sum(int(self.hashes[batch_id]["n"]) for batch_id in self.zsets[state]) == count, state
        assert all(members.keys() <= everywhere.keys() for members in self.open.values())


def compare_ring(found: Ring | None, batch: Batch | None) -> None:
    assert (found is None) == (batch is None), (found, batch)
    if found is not None and batch is not None:
        assert (found.batch_id, found.count) == (batch.id, len(batch.payloads))
        assert (found.attempts, found.example) == (batch.attempts, batch.example)


def scores(answer: list[bytes]) -> dict[str, int]:
    return {answer[at].decode(): int(float(answer[at + 1])) for at in range(0, len(answer), 2)}


def fields(answer: list[bytes]) -> dict[str, bytes]:
    return {answer[at].decode(): answer[at + 1] for at in range(0, len(answer), 2)}


def letter(found: dict[str, bytes]) -> tuple[str, str, bytes, int]:
    return found["reason"].decode(), found["error"].decode(), found["event"], int(found["attempts"])


def a_put(name: str, journal: str, start: int, end: int, after: int) -> tuple[Put, list[bytes]]:
    """A range of a journal. Its events are the same however the journal is split."""
    payloads: list[bytes] = []
    filtered: Counter[str] = Counter()
    dead: list[DeadEvent] = []
    for at in range(start, end, FRAME):
        fate = random.Random(f"{name} {journal} {at}").choice("eeeefx")
        # So long that its description is shorter.
        payload = b'{"at":"%s-%d","padding":"%s"}' % (journal.encode(), at, b"x" * (at % 300))
        if fate == "e":
            payloads.append(payload)
        elif fate == "f":
            filtered["not_listed"] += 1
        else:
            dead.append(DeadEvent("undecodable", "why", payload))
    put = Put(
        destination=name,
        journal=journal,
        start=start,
        end=end,
        after=after,
        packed=pack(payloads) if payloads else b"",
        count=len(payloads),
        example="shop.order.paid" if payloads else "",
        filtered=filtered,
        dead=dead,
    )
    return put, payloads


def walk(server: RedisServer, seed: int) -> None:
    one = Walk(server, seed)
    try:
        one.run(STEPS)
    except (Exception, pytest.fail.Exception) as error:
        steps = "\n".join(f"{number:3} {step}" for number, step in enumerate(one.history))
        raise AssertionError(f"DISPATCHER_MODEL_SEED={seed}: {error}\n{steps}") from error
    finally:
        one.pool.close()


def test_the_store_does_what_the_model_does_after_any_order_of_commands(server: RedisServer) -> None:
    for seed in range(SEEDS) if ONLY_SEED is None else [int(ONLY_SEED)]:
        walk(server, seed)
