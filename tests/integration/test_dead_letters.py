"""Dead letters: kept, found again, delivered again and dropped, with the ledger closing all the while."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.event import Event, encode
from dispatcher.store.batches import BatchStore
from dispatcher.store.claim import Claim
from dispatcher.store.counts import NOT_TAKEN
from dispatcher.store.dead_event import DeadEvent
from dispatcher.store.dead_letter import DeadLetterFilter
from dispatcher.store.dead_letters import DeadLetters
from dispatcher.store.packing import pack
from dispatcher.store.put import Put
from dispatcher.store.settlement import Settlement
from tests.support.dead_letters import NAME, add_dead_letters, an_event, run_dead
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.every_server


@pytest.fixture
def pool(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisPool]:
    server.call("FLUSHALL")
    monkeypatch.setenv("DISPATCHER_BROKER_URL", server.url)
    pool = RedisPool(server.url, timeout_seconds=30)
    yield pool
    pool.close()


@pytest.fixture
def store(pool: RedisPool) -> BatchStore:
    return BatchStore(pool)


@pytest.fixture
def letters(pool: RedisPool) -> DeadLetters:
    return DeadLetters(pool)


def test_dead_letters_are_found_by_reason_name_and_time(store: BatchStore, letters: DeadLetters) -> None:
    add_dead_letters(store, an_event(1), an_event(2, "shop.basket.added"))
    add_dead_letters(store, an_event(3), reason="undecodable", start=8)

    def found(**selection: object) -> list[str]:
        return [letter.event.id for letter in letters.select(NAME, DeadLetterFilter(**selection)) if letter.event]  # type: ignore[arg-type]

    assert found() == ["id-1", "id-2", "id-3"]
    assert found(reason="undecodable") == ["id-3"]
    assert found(name="shop.basket.*") == ["id-2"]
    assert found(until=datetime(2020, 1, 1, tzinfo=UTC)) == []
    assert found(since=datetime(2020, 1, 1, tzinfo=UTC)) == ["id-1", "id-2", "id-3"]


def test_the_next_bell_rings_for_a_replayed_dead_letter(store: BatchStore, letters: DeadLetters) -> None:
    add_dead_letters(store, an_event(1), an_event(2))

    assert letters.replay(list(letters.select(NAME, DeadLetterFilter()))) == 2

    counts = store.counts([NAME])[NAME]
    assert (counts.dead, counts.queued, counts.accepted) == (0, 2, 2)
    assert counts.closes
    due = store.due(NAME, idle=False)
    assert due is not None
    claim = store.claim(NAME, due.batch_id, token="again", lease_seconds=60)
    assert isinstance(claim, Claim)
    assert [json.loads(payload)["id"] for payload in claim.payloads] == ["id-1", "id-2"]
    assert not claim.maybe_delivered


def test_an_event_that_fails_again_is_a_dead_letter_again(store: BatchStore, letters: DeadLetters) -> None:
    add_dead_letters(store, an_event(1))
    letters.replay(list(letters.select(NAME, DeadLetterFilter())))
    due = store.due(NAME, idle=False)
    assert due is not None
    claim = store.claim(NAME, due.batch_id, token="again", lease_seconds=60)
    assert isinstance(claim, Claim)

    store.settle(claim, Settlement(dead=[DeadEvent("invalid", "no", claim.payloads[0])]))

    (letter,) = letters.select(NAME, DeadLetterFilter())
    assert letter.reason == "invalid"
    assert store.counts([NAME])[NAME].closes


def test_two_replays_at_once_replay_each_dead_letter_once(store: BatchStore, letters: DeadLetters) -> None:
    add_dead_letters(store, an_event(1))
    chosen = list(letters.select(NAME, DeadLetterFilter()))

    assert letters.replay(chosen) == 1
    assert letters.replay(chosen) == 0
    assert store.counts([NAME])[NAME].queued == 1


def test_dropped_dead_letters_count_as_filtered(store: BatchStore, letters: DeadLetters) -> None:
    add_dead_letters(store, an_event(1), an_event(2))

    assert letters.drop(NAME, [letter.id for letter in letters.select(NAME, DeadLetterFilter())]) == 2

    counts = store.counts([NAME])[NAME]
    assert counts.filtered_by_reason["dropped"] == 2
    assert counts.dead == 0
    assert counts.closes
    assert not list(letters.select(NAME, DeadLetterFilter()))


def test_dead_letters_of_several_pages_are_all_found(store: BatchStore, letters: DeadLetters) -> None:
    for number in range(13):
        add_dead_letters(store, *(an_event(number * 100 + index) for index in range(100)), start=number * 8)

    assert len({letter.id for letter in letters.select(NAME, DeadLetterFilter())}) == 1300


def test_the_commands_list_show_replay_and_drop_dead_letters(store: BatchStore, pool: RedisPool) -> None:
    add_dead_letters(store, an_event(1), an_event(2, "shop.basket.added"))

    listed = [json.loads(line) for line in run_dead("list", NAME, "--json").stdout.splitlines()]
    shown = json.loads(run_dead("show", NAME, listed[0]["dead_letter"]).stdout)

    assert [row["name"] for row in listed] == ["shop.order.paid", "shop.basket.added"]
    assert shown["event"]["data"] == {"number": 1}
    assert "2 dead letters would be replayed" in run_dead("replay", NAME, "--dry-run").stdout
    assert store.counts([NAME])[NAME].dead == 2
    assert run_dead("replay", NAME, "--name", "shop.basket.*").exit_code == 0
    assert store.counts([NAME])[NAME].queued == 1
    assert run_dead("drop", NAME, "--yes").exit_code == 0
    assert store.counts([NAME])[NAME].dead == 0
    assert run_dead("drop", NAME, "--yes").stdout == "no dead letter matches: nothing to drop\n"


def test_events_that_emit_refused_can_be_read_but_not_replayed(store: BatchStore) -> None:
    letter = encode(
        Event(
            id="id-9",
            type="dead",
            name="shop.order.paid",
            timestamp=datetime.now(UTC),
            data={"reason": "not_encodable", "error": "data['x'] is a set", "data": "{'x': {1}}"},
            context={},
        )
    )
    dead = [DeadEvent("not_encodable", "data['x'] is a set", letter)]
    store.put([Put(destination=NOT_TAKEN, journal="1-a", start=0, end=8, dead=dead)])

    assert "not_encodable" in run_dead("list", NOT_TAKEN).stdout
    refused = run_dead("replay", NOT_TAKEN)
    assert refused.exit_code == 1
    assert "nothing to replay" in refused.output


def test_an_unknown_destination_or_dead_letter_is_an_error(pool: RedisPool) -> None:
    assert "unknown destination 'segmnt'" in run_dead("list", "segmnt").output
    assert "has no dead letter 1-0" in run_dead("show", NAME, "1-0").output
    assert "no dead letters" in run_dead("list", NAME).output


def test_vanished_dead_letters_do_not_stop_the_replay_of_others(store: BatchStore, letters: DeadLetters) -> None:
    add_dead_letters(store, *(an_event(number) for number in range(9)))
    chosen = list(letters.select(NAME, DeadLetterFilter()))
    letters.drop(NAME, [chosen[2].id, chosen[7].id])

    assert letters.replay(chosen) == 7

    counts = store.counts([NAME])[NAME]
    assert (counts.dead, counts.queued, counts.filtered) == (0, 7, 2)
    assert counts.closes


def test_dead_letters_made_during_a_replay_are_not_replayed_again(store: BatchStore, letters: DeadLetters) -> None:
    add_dead_letters(store, *(an_event(number) for number in range(20)))

    seen = 0
    for letter in letters.select(NAME, DeadLetterFilter()):
        letters.replay([letter])
        claim = store.claim(NAME, f"replay-{letter.id}", token=str(seen), lease_seconds=60)
        assert isinstance(claim, Claim)
        store.settle(claim, Settlement(dead=[DeadEvent("invalid", "again", claim.payloads[0])]))
        seen += 1
        assert seen <= 20

    assert seen == 20
    assert store.counts([NAME])[NAME].dead == 20


def test_a_replay_keeps_to_the_batches_of_its_destination(store: BatchStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPATCHER_DESTINATIONS__SEGMENT__BATCH_EVENTS", "4")
    add_dead_letters(store, *(an_event(number) for number in range(10)))
    newest = json.loads(run_dead("list", NAME, "--json").stdout.splitlines()[-1])["dead_letter"]

    assert "on the way: 1 of 1 dead letter;" in run_dead("replay", NAME, "--dead-letter", newest).stdout
    assert "on the way: 9 of 9 dead letters;" in run_dead("replay", NAME, "--rate", "1000").stdout

    counts = store.counts([NAME])[NAME]
    assert (counts.queued, counts.batches) == (10, 4)
    assert counts.closes


# Over all destinations


def add_at(store: BatchStore, destination: str, number: int, **contents: Any) -> None:
    event = Event(
        id=f"id-{number}", name="shop.paid", timestamp=datetime.now(UTC), **{"data": {}, "context": {}, **contents}
    )
    put = Put(destination=destination, journal=f"9-{number}", start=0, end=8, packed=pack([encode(event)]), count=1)
    assert store.put([put]) == [None]
    claim = store.claim(destination, put.batch_id, token="t", lease_seconds=60)
    assert isinstance(claim, Claim)
    assert store.settle(claim, Settlement(dead=[DeadEvent("invalid", "no", encode(event))]))
    time.sleep(0.002)  # so that no two die in the same millisecond


def listed(*arguments: str) -> list[str]:
    result = run_dead("list", "--json", *arguments)
    assert result.exit_code == 0, result.output
    return [json.loads(line)["id"] for line in result.stdout.splitlines()]


def test_all_destinations_are_listed_in_the_order_of_their_deaths(store: BatchStore) -> None:
    for number, destination in enumerate(["segment", "gone_crm", "tracking_log", "segment", NOT_TAKEN]):
        add_at(store, destination, number)

    assert listed() == ["id-0", "id-1", "id-2", "id-3", "id-4"]
    text = run_dead("list").output
    assert "gone_crm  shop.paid" in " ".join(text.split("\n")).replace("   ", "  ")
    # A destination that is gone from the settings can be looked at and dropped, and not replayed.
    assert listed("gone_crm") == ["id-1"]
    assert run_dead("replay", "gone_crm", "--dry-run").exit_code == 3
    assert run_dead("drop", "gone_crm", "--yes").exit_code == 0
    assert listed() == ["id-0", "id-2", "id-3", "id-4"]


@pytest.mark.parametrize("arguments", [(), ("segment",)])
def test_pages_follow_one_another_without_a_gap(store: BatchStore, arguments: tuple[str, ...]) -> None:
    for number in range(7):
        add_at(store, "segment", number)
        add_at(store, "tracking_log", 10 + number)
    whole, pages, after = listed(*arguments), [], ()
    while True:
        result = run_dead("list", "--json", "--limit", "3", *arguments, *after)
        pages += [json.loads(line)["id"] for line in result.stdout.splitlines()]
        if "more follow" not in result.stderr:
            break
        after = ("--after", result.stderr.split("--after ")[1].split(",")[0])

    assert pages == whole
    assert len(pages) == (7 if arguments else 14)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (("--id", "id-2"), ["id-2"]),
        (("--id", "id-2", "--id", "id-0"), ["id-0", "id-2"]),
        (("--user", "4711"), ["id-0", "id-1"]),
        (("--user", "ada"), ["id-2"]),
        (("--where", "data.course_id=course-v1:A+B=C"), ["id-0"]),
        (("--where", "data.products.sku=x2"), ["id-1"]),
        (("--where", "data.price=49.5"), ["id-1"]),
        (("--where", "data.paid=true", "--where", "data.price=49.5"), ["id-1"]),
        (("--where", "data.paid=null"), ["id-2"]),
        (("--where", "data.a.b=c"), ["id-2"]),
        (("--where", "context.org_id="), ["id-0"]),
        (("--where", "data.nothing=1"), []),
        (("--where", "data=1"), []),
    ],
)
def test_dead_letters_are_found_by_what_their_events_say(
    store: BatchStore, arguments: tuple[str, ...], wanted: list[str]
) -> None:
    add_at(store, "segment", 0, data={"course_id": "course-v1:A+B=C"}, context={"user_id": 4711, "org_id": ""})
    add_at(
        store,
        "segment",
        1,
        data={"user_id": "4711", "price": 49.5, "paid": True, "products": [{"sku": "x1"}, {"sku": "x2"}]},
    )
    add_at(store, "tracking_log", 2, data={"paid": None, "a.b": "c"}, context={"username": "ada"})

    assert listed(*arguments) == wanted


@pytest.mark.parametrize("given", ["course_id=1", "data.course_id", "=", "reason=x"])
def test_a_condition_that_cannot_be_meant_is_wrong_usage(store: BatchStore, given: str) -> None:
    result = run_dead("list", "--where", given)

    assert result.exit_code == 2
    assert "such as data.course_id" in " ".join(result.output.split())


@pytest.mark.parametrize("given", ["1", "a-b", "segment/", "1-2-3"])
def test_a_wrong_place_to_go_on_from_is_wrong_usage(store: BatchStore, given: str) -> None:
    assert run_dead("list", "--after", given).exit_code == 2
