"""TrackingLog delivers batches and returns an outcome for each event."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from dispatcher.destinations.base import Batch
from dispatcher.event import Event, encode
from dispatcher.outcomes import DELIVERED, Dead, Delivered
from dispatcher.tasks.destinations.tracking_log import TrackingLog, TrackingLogOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tracking.log"


@pytest.fixture
def make(path: Path) -> Iterator[Callable[..., TrackingLog]]:
    made: list[TrackingLog] = []

    def make(**options: Any) -> TrackingLog:
        log = TrackingLog("tracking_log", TrackingLogOptions(path=path, **options))
        made.append(log)
        return log

    yield make
    for log in made:
        log.close()


def payload(name: str) -> bytes:
    return encode(Event(id=f"id-{name}", name=name, timestamp=datetime(2026, 3, 4, tzinfo=UTC), data={}, context={}))


def batch(*payloads: bytes, number: int = 1, maybe_delivered: bool = False, first: int = 0) -> Batch:
    return Batch(
        destination="tracking_log",
        id=f"b-{number}",
        payloads=payloads,
        maybe_delivered=maybe_delivered,
        first=first,
    )


def test_events_are_delivered_in_order(make: Callable[..., TrackingLog], path: Path) -> None:
    assert make().deliver(batch(payload("a"), payload("b"))) == [DELIVERED, DELIVERED]
    assert [line[:12] for line in path.read_text().splitlines()] == ['{"name": "a"', '{"name": "b"']


def test_an_undecodable_event_is_dead_and_no_other_is(make: Callable[..., TrackingLog], path: Path) -> None:
    first, second, third = make().deliver(batch(payload("a"), b'{"id"', payload("c")))
    assert (first, third) == (DELIVERED, DELIVERED)
    assert isinstance(second, Dead)
    assert second.reason == "undecodable"
    assert "the payload is not an event: " in second.error
    assert path.read_text().count("\n") == 2


def test_a_batch_without_a_readable_event_writes_nothing(make: Callable[..., TrackingLog], path: Path) -> None:
    outcomes = make().deliver(batch(b"", b"[]"))
    assert [type(outcome) for outcome in outcomes] == [Dead, Dead]
    assert not path.exists()


def test_a_repeated_batch_is_written_once_with_the_same_outcomes(make: Callable[..., TrackingLog], path: Path) -> None:
    payloads = (payload("a"), b"?", payload("b"))
    outcomes = make().deliver(batch(*payloads))
    written = path.read_bytes()
    assert make().deliver(batch(*payloads, maybe_delivered=True)) == outcomes
    assert path.read_bytes() == written
    make().deliver(batch(*payloads, number=2, maybe_delivered=True))
    assert path.read_bytes() == written + written


@pytest.mark.parametrize("written", range(5))
@pytest.mark.parametrize("cut", range(1, 5))
def test_parts_of_a_partly_written_batch_leave_each_line_once(
    make: Callable[..., TrackingLog], path: Path, written: int, cut: int
) -> None:
    payloads = (payload("a"), b"?", payload("b"), payload("c"), b"?")
    if written:
        make().deliver(batch(*payloads[:written]))
    for first, until in ((0, cut), (cut, 5)):
        # Each part comes twice, as when its worker was killed after its append.
        for _ in range(2):
            part = batch(*payloads[first:until], first=first, maybe_delivered=True)
            assert [type(outcome) for outcome in make().deliver(part)] == [
                Dead if one == b"?" else Delivered for one in payloads[first:until]
            ]
    assert [json.loads(line)["name"] for line in path.read_bytes().splitlines()] == ["a", "b", "c"]


def test_a_stopped_worker_writes_only_the_lines_that_are_still_missing(
    make: Callable[..., TrackingLog], path: Path
) -> None:
    payloads = (payload("a"), payload("b"), payload("c"), payload("d"))
    make().deliver(batch(*payloads[:2], maybe_delivered=True))
    make().deliver(batch(*payloads))
    make().deliver(batch(*payloads[2:], first=2, maybe_delivered=True))
    assert [json.loads(line)["name"] for line in path.read_bytes().splitlines()] == ["a", "b", "c", "d"]


def test_an_event_dead_lettered_between_two_parts_loses_no_line(make: Callable[..., TrackingLog], path: Path) -> None:
    make().deliver(batch(payload("a"), first=0, maybe_delivered=True))
    make().deliver(batch(payload("c"), first=2, maybe_delivered=True))
    make().deliver(batch(payload("c"), first=2, maybe_delivered=True))
    assert [json.loads(line)["name"] for line in path.read_bytes().splitlines()] == ["a", "c"]


def test_the_same_batch_id_at_another_destination_is_another_batch(
    make: Callable[..., TrackingLog], path: Path
) -> None:
    make().deliver(batch(payload("a")))
    make().deliver(Batch(destination="archive", id="b-1", payloads=(payload("a"),), maybe_delivered=True))
    assert path.read_text().count("\n") == 2


@pytest.mark.parametrize(
    ("options", "beginning"),
    [
        ({"format": "event"}, '{"id":"id-a",'),
        ({}, '{"name": "a", "context": {"event_id": "id-a"}, '),
        ({"format": "edx", "ids": False}, '{"name": "a", "context": {}, '),
        ({"format": "tutor"}, "2026-03-0"),
    ],
)
def test_options_choose_the_form_of_the_line(
    make: Callable[..., TrackingLog], path: Path, options: dict[str, Any], beginning: str
) -> None:
    make(**options).deliver(batch(payload("a")))
    assert path.read_text().startswith(beginning)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"format": "xml"}, "format"),
        ({"rotate_bytes": 0}, "rotate_bytes"),
        ({"rotate_compress": True}, "set rotate_bytes"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_invalid_settings_are_refused(path: Path, options: dict[str, Any], word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        TrackingLogOptions(path=path, **options)
