"""The doorbell: a Celery message that names a batch and reveals nothing of its contents."""

from __future__ import annotations

import json
from typing import Any

import pytest
from celery import Celery
from kombu import Connection

from dispatcher.store.doorbell import Ring, commands, send, task_name

RING = Ring(destination="tracking_log", batch_id="7-a-10", count=37, attempts=2, example="edx.video.played")


def messages(*rings: Ring) -> list[dict[str, Any]]:
    return [json.loads(message) for _, _, *found in commands(rings) for message in found]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("count", "example", "attempts", "summary"),
    [
        (1, "shop.order.paid", 0, "(1 event, shop.order.paid)"),
        (37, "shop.order.paid", 0, "(37 events, shop.order.paid, …)"),
        (37, "shop.order.paid", 1, "(37 events, shop.order.paid, …, attempt 2)"),
        (1, "", 0, "(1 event)"),
        (2, "", 3, "(2 events, attempt 4)"),
    ],
)
def test_the_summary_is_for_people_to_read(count: int, example: str, attempts: int, summary: str) -> None:
    assert Ring(destination="d", batch_id="b", count=count, example=example, attempts=attempts).summary == summary


def test_the_task_is_named_after_the_destination() -> None:
    assert task_name("tracking_log") == RING.task == "tasks.tracking_log.deliver"


def test_rings_of_one_destination_are_one_command_in_the_order_rung() -> None:
    rings = [
        Ring(destination="a", batch_id="1", count=1),
        Ring(destination="b", batch_id="2", count=1),
        Ring(destination="a", batch_id="3", count=1),
    ]
    found = commands(rings)
    assert [(command[0], command[1], len(command) - 2) for command in found] == [("LPUSH", "a", 2), ("LPUSH", "b", 1)]
    assert [json.loads(json.loads(message)["body"])[0] for message in found[0][2:]] == [["1"], ["3"]]


def test_without_a_ring_there_is_no_command() -> None:
    assert commands([]) == []


def test_the_message_names_the_batch_and_its_attempts() -> None:
    (message,) = messages(RING)
    assert json.loads(message["body"]) == [
        ["7-a-10"],
        {},
        {"callbacks": None, "errbacks": None, "chain": None, "chord": None},
    ]
    assert message["content-type"] == "application/json"
    assert message["headers"]["task"] == "tasks.tracking_log.deliver"
    assert message["headers"]["retries"] == 2
    assert message["headers"]["id"] == message["headers"]["root_id"] == message["properties"]["correlation_id"]
    assert message["properties"]["delivery_info"] == {"exchange": "", "routing_key": "tracking_log"}


def test_delivery_tags_are_unique() -> None:
    tags = {message["properties"]["delivery_tag"] for message in messages(*[RING] * 100)}
    assert len(tags) == 100


def test_ringing_again_uses_the_same_task_id() -> None:
    assert len({message["headers"]["id"] for message in messages(RING, RING)}) == 1


def test_an_event_name_with_quotes_and_umlauts_is_carried_unchanged() -> None:
    (message,) = messages(Ring(destination="a", batch_id="1", count=1, example='he said "größe"\\'))
    assert message["headers"]["argsrepr"] == '(1 event, he said "größe"\\)'


def test_kombu_reads_the_message_like_its_own() -> None:
    with Connection("memory://") as connection:
        channel = connection.default_channel
        (raw,) = messages(RING)
        message = channel.message_to_python(raw)
        assert message.decode() == json.loads(raw["body"])
        assert message.headers["task"] == RING.task
        assert message.delivery_tag == raw["properties"]["delivery_tag"]


def test_celerys_own_producer_writes_the_same() -> None:
    sent: list[dict[str, Any]] = []
    with Celery("producer", broker="memory://", set_as_current=False) as app:
        send(app, [RING])
        with app.connection() as connection:
            message = connection.SimpleQueue(RING.destination).get(timeout=60)
            sent.append({"headers": message.headers, "body": message.decode(), "properties": message.properties})
            message.ack()
    (ours,) = messages(RING)
    (theirs,) = sent
    assert theirs["body"] == json.loads(ours["body"])
    differing = {key for key in ours["headers"] if ours["headers"][key] != theirs["headers"].get(key)}
    assert differing == {"origin"}
    assert theirs["properties"]["correlation_id"] == ours["properties"]["correlation_id"]
