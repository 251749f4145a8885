"""Mailboxes in a real Redis: what waits for a page counts once, whatever the order of its post and acknowledgement."""

from __future__ import annotations

import pytest

from dispatcher.store import keys
from dispatcher.store.claim import Claim
from dispatcher.store.counts import Counts
from dispatcher.store.dead_letter import DeadLetterFilter
from dispatcher.store.dead_letters import DeadLetters
from dispatcher.store.mailboxes import Mailboxes
from dispatcher.store.packing import pack
from dispatcher.store.put import Put
from dispatcher.store.settlement import PostedEvent, Settlement
from tests.support.clock import Clock
from tests.support.open_store import OpenStore

pytestmark = pytest.mark.every_server

NAME = "segment"
HOUR = 3600.0
ALICE, BOB = "a" * 32, "b" * 32


@pytest.fixture
def boxes(store: OpenStore, clock: Clock) -> Mailboxes:
    return Mailboxes(store.pool, clock=clock)


def claim(store: OpenStore, *ids: str, start: int = 0) -> Claim:
    payloads = [one.encode() for one in ids]
    end = start + len(ids)
    store.put([Put(destination=NAME, journal="7-a", start=start, end=end, packed=pack(payloads), count=len(ids))])
    found = store.claim(NAME, f"7-a-{start:x}", token=f"t{start}", lease_seconds=60)
    assert isinstance(found, Claim)
    return found


def posting(claimed: Claim, mailbox: str = ALICE, calls: bytes = b"[1]") -> Settlement:
    posted = [PostedEvent(mailbox, one.decode(), calls, one) for one in claimed.payloads]
    return Settlement(posted=posted, keep_seconds=HOUR)


def counts(store: OpenStore) -> Counts:
    found = store.counts([NAME])[NAME]
    assert found.closes, found
    return found


def waiting(boxes: Mailboxes, *mailboxes: str) -> list[str]:
    return [one.id for one in boxes.fetch([NAME], mailboxes, limit=200)]


def no_key_left(store: OpenStore, *mailboxes: str) -> bool:
    names = [keys.POSTED.of(NAME), *(keys.MAILBOX.of(NAME, one) for one in mailboxes)]
    return store.pool.execute("EXISTS", *names) == 0


def test_what_is_posted_waits_for_its_visitor_alone_until_it_is_handed(store: OpenStore, boxes: Mailboxes) -> None:
    claimed = claim(store, "e1", "e2")
    assert store.settle(claimed, posting(claimed)) is not None
    found = counts(store)
    assert (found.posted, found.waiting, found.delivered, found.batches) == (2, 2, 0, 0)

    assert waiting(boxes, BOB) == []
    assert boxes.have_events([NAME], [BOB, ALICE]) == [False, True]
    assert boxes.acknowledge([BOB], {NAME: [("e1", "handed")]}) == 0
    assert [(one.id, one.calls) for one in boxes.fetch([NAME], [ALICE], limit=9)] == [("e1", b"[1]"), ("e2", b"[1]")]
    assert boxes.acknowledge([ALICE], {NAME: [("e1", "handed"), ("e1", "handed")]}) == 1
    assert boxes.acknowledge([ALICE], {NAME: [("e1", "handed"), ("e2", "no_consent")]}) == 1

    found = counts(store)
    assert (found.posted, found.delivered, dict(found.filtered_by_reason)) == (0, 1, {"consent": 1})
    assert no_key_left(store, ALICE)


def test_what_comes_in_one_millisecond_keeps_its_order(store: OpenStore, boxes: Mailboxes) -> None:
    ids = ["e3", "e1", "e9", "e2", "e5"]
    for start, one in enumerate(ids):
        claimed = claim(store, one, start=start)
        # What stands behind the order must not decide it.
        store.settle(claimed, posting(claimed, calls=b"[%d]" % (9 - start)))
    assert waiting(boxes, ALICE) == ids


def test_one_browser_of_a_user_has_an_event_at_a_time(store: OpenStore, boxes: Mailboxes, clock: Clock) -> None:
    claimed = claim(store, "e1")
    store.settle(claimed, posting(claimed))
    first, second = "1" * 32, "2" * 32
    for _ in range(2):
        assert waiting(boxes, first, ALICE) == ["e1"]
        assert waiting(boxes, second, ALICE) == []
    clock.now += 60
    assert waiting(boxes, second, ALICE) == ["e1"]
    assert waiting(boxes, first, ALICE) == []
    boxes.acknowledge([first, ALICE], {NAME: [("e1", "handed")]})
    assert no_key_left(store, ALICE)


def test_a_lost_lease_posts_nothing(store: OpenStore, boxes: Mailboxes, clock: Clock) -> None:
    late = claim(store, "e1")
    clock.now += 61
    again = store.claim(NAME, "7-a-0", token="other", lease_seconds=60)
    assert isinstance(again, Claim)

    assert store.settle(late, posting(late)) is None
    assert waiting(boxes, ALICE) == []
    assert store.settle(again, posting(again)) is not None
    assert store.settle(again, posting(again)) is None
    assert counts(store).posted == 1


def test_what_was_handed_before_it_is_posted_is_delivered_at_once(store: OpenStore, boxes: Mailboxes) -> None:
    claimed = claim(store, "e1", "e2", "e3")
    boxes.acknowledge([ALICE, BOB], {NAME: [("e1", "handed"), ("e2", "no_consent"), ("e3", "error")]})
    store.settle(claimed, posting(claimed))

    found = counts(store)
    assert (found.delivered, found.filtered, found.posted) == (1, 1, 1)
    assert waiting(boxes, ALICE) == ["e3"]


def test_nobody_acknowledges_another_visitors_event_before_it_is_posted(store: OpenStore, boxes: Mailboxes) -> None:
    claimed = claim(store, "e1")
    boxes.acknowledge([BOB], {NAME: [("e1", "handed")]})
    store.settle(claimed, posting(claimed))

    assert (counts(store).posted, counts(store).delivered) == (1, 0)


@pytest.mark.parametrize(
    ("status", "reason"), [(None, "not_collected"), ("not_present", "not_present"), ("error", "call_failed")]
)
def test_what_no_page_took_in_time_is_a_dead_letter_with_its_event(
    store: OpenStore, boxes: Mailboxes, clock: Clock, status: str | None, reason: str
) -> None:
    claimed = claim(store, "e1")
    store.settle(claimed, posting(claimed))
    if status:
        boxes.acknowledge([ALICE], {NAME: [("e1", status)]})
        assert waiting(boxes, ALICE) == ["e1"]
    clock.now += HOUR - 1
    assert boxes.expire(NAME) == 0
    clock.now += 1
    assert boxes.expire(NAME) == 1

    found = counts(store)
    assert (found.posted, found.dead, dict(found.dead_by_reason)) == (0, 1, {reason: 1})
    assert found.retried == (1 if status else 0)
    [letter] = DeadLetters(store.pool, clock=clock).select(NAME, DeadLetterFilter())
    assert letter.payload == b"e1"
    assert letter.error
    assert letter.attempts == (1 if status else 0)
    assert no_key_left(store, ALICE)


@pytest.mark.parametrize("browser", [ALICE, BOB], ids=["its own mailbox", "its user's mailbox"])
def test_each_try_of_a_page_counts_once_as_a_retry(store: OpenStore, boxes: Mailboxes, browser: str) -> None:
    claimed = claim(store, "e1")
    store.settle(claimed, posting(claimed))
    mailboxes = list(dict.fromkeys((browser, ALICE)))
    for tries in (1, 2, 3):
        assert waiting(boxes, *mailboxes) == ["e1"]
        assert boxes.acknowledge(mailboxes, {NAME: [("e1", "error")]}) == 1
        # The answer was lost, and the page says it again.
        assert boxes.acknowledge(mailboxes, {NAME: [("e1", "error")]}) == 0
        assert counts(store).retried == tries
    assert boxes.acknowledge(mailboxes, {NAME: [("e1", "handed")]}) == 1
    # And this comes late.
    assert boxes.acknowledge(mailboxes, {NAME: [("e1", "error"), ("e1", "handed")]}) == 0
    assert (counts(store).retried, counts(store).delivered, counts(store).posted) == (3, 1, 0)
    assert no_key_left(store, ALICE, BOB)


@pytest.mark.parametrize(("status", "reason"), [("error", "call_failed"), ("not_present", "not_present")])
def test_a_try_before_the_post_counts_when_that_comes(
    store: OpenStore, boxes: Mailboxes, clock: Clock, status: str, reason: str
) -> None:
    claimed = claim(store, "e1")
    for _ in range(2):
        assert boxes.acknowledge([ALICE], {NAME: [("e1", status)]}) == 0
    store.settle(claimed, posting(claimed))

    assert (counts(store).retried, counts(store).posted) == (1, 1)
    clock.now += HOUR
    assert boxes.expire(NAME) == 1
    assert dict(counts(store).dead_by_reason) == {reason: 1}


def test_a_dead_letter_can_be_posted_again(store: OpenStore, boxes: Mailboxes, clock: Clock) -> None:
    claimed = claim(store, "e1")
    store.settle(claimed, posting(claimed))
    clock.now += HOUR
    boxes.expire(NAME)
    letters = DeadLetters(store.pool, clock=clock)
    [letter] = letters.select(NAME, DeadLetterFilter())
    assert letters.revive(NAME, "again", [b"e1"], [letter.id])
    again = store.claim(NAME, "again", token="t9", lease_seconds=60)
    assert isinstance(again, Claim)
    store.settle(again, posting(again))

    assert waiting(boxes, ALICE) == ["e1"]
    assert (counts(store).posted, counts(store).dead) == (1, 0)


def test_an_id_that_waits_already_is_a_duplicate(store: OpenStore, boxes: Mailboxes) -> None:
    for start in (0, 1):
        claimed = claim(store, "e1", start=start)
        store.settle(claimed, posting(claimed))

    assert waiting(boxes, ALICE) == ["e1"]
    assert dict(counts(store).filtered_by_reason) == {"duplicate": 1}


@pytest.mark.parametrize(("size", "kept"), [(10, 100), (25_000, 10)])
def test_a_full_mailbox_buries_the_oldest(
    store: OpenStore, boxes: Mailboxes, clock: Clock, size: int, kept: int
) -> None:
    for start in range(0, 150, 50):
        claimed = claim(store, *(f"e{n}" for n in range(start, start + 50)), start=start)
        [settled] = store.settle_all([(claimed, posting(claimed, calls=b"x" * size))])
        assert settled is not None
        clock.now += 1

    assert waiting(boxes, ALICE) == [f"e{n}" for n in range(150 - kept, 150)]
    assert dict(counts(store).dead_by_reason) == {"mailbox_full": 150 - kept}


def test_a_full_mailbox_does_not_spoil_the_ring(store: OpenStore, boxes: Mailboxes) -> None:
    claimed = claim(store, *(f"e{n}" for n in range(101)))
    store.put([Put(destination=NAME, journal="7-a", start=101, end=102, packed=pack([b"x"]), count=1)])
    store.pool.execute("HDEL", keys.RING.of(NAME), "at")
    store.settle_all([(claimed, posting(claimed))], here=True)

    message = store.pool.execute("LPOP", NAME)
    assert b'"task"' in message
    assert dict(counts(store).dead_by_reason) == {"mailbox_full": 1}


def test_early_acknowledgements_are_forgotten_after_a_day(store: OpenStore, boxes: Mailboxes, clock: Clock) -> None:
    boxes.acknowledge([ALICE], {NAME: [("e1", "handed")]})
    clock.now += 86_401
    boxes.acknowledge([ALICE], {NAME: [("e2", "handed")]})

    assert store.pool.execute("ZRANGE", keys.ACKNOWLEDGED.of(NAME), 0, -1) == [f"handed {ALICE} e2".encode()]
