"""ClickHouse's own engine, by chDB over HTTP: the table, both shapes, repeats, and what it says. `make clickhouse`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dispatcher.destinations.base import Batch
from dispatcher.event import Event
from dispatcher.forgetting import Person
from dispatcher.forgetting.change import Deletion
from dispatcher.tasks.destinations.clickhouse import ClickHouse, table_place
from dispatcher.tasks.testing import batch_of, fates
from dispatcher.tasks.testing.contract.subject import Subject, errors_of, with_data
from tests.support.clickhouse_server import CHDB, HINT, ROOT, ClickHouseServer

pytestmark = pytest.mark.skipif(not CHDB.is_dir(), reason=HINT)

_DDL = ROOT / "tasks" / "destinations" / "clickhouse" / "events.sql"
_PAGE = ROOT / "docs" / "destinations" / "clickhouse.md"
_numbers = count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[ClickHouseServer]:
    with ClickHouseServer() as server:
        yield server


class _Table:
    """A table of the server's, and the destination that inserts into it."""

    def __init__(self, server: ClickHouseServer, ddl: str, **options: Any) -> None:
        self.name = f"t{next(_numbers)}"
        self._server = server
        server.ask(
            ddl.replace("events", self.name, 1) if "events" in ddl else ddl.replace("TABLE x", f"TABLE {self.name}")
        )
        given = {"url": server.url, "table": self.name, "wait_seconds": 0, **options}
        self.destination = ClickHouse("clickhouse", ClickHouse.Options.model_validate(given))

    def deliver(self, batch: Batch) -> list[str]:
        outcomes = self.destination.deliver(batch)
        self.errors = errors_of(outcomes)
        return fates(outcomes)

    def count(self) -> int:
        return int(self._server.ask(f"SELECT count() AS n FROM {self.name}")[0]["n"])  # noqa: S608

    def rows(self) -> list[dict[str, Any]]:
        return self._server.ask(f"SELECT * FROM {self.name}")  # noqa: S608


def _ddl() -> str:
    lines = _DDL.read_text().splitlines()
    return "\n".join(line for line in lines if not line.startswith("--"))


def _events(number: int) -> list[Event]:
    return Subject().events(number)


def test_the_page_has_the_table_that_comes_with_it() -> None:
    assert f"```sql\n{_DDL.read_text()}```" in _PAGE.read_text()


def test_an_event_is_a_row_with_its_time_and_texts_as_they_were(server: ClickHouseServer) -> None:
    table = _Table(server, _ddl())
    event = msgspec.structs.replace(
        with_data(_events(1)[0], note="'quoted' \\ \n\t🎉\0"), timestamp=datetime(2026, 3, 4, 5, 6, 7, 80, tzinfo=UTC)
    )
    early = msgspec.structs.replace(_events(1)[0], timestamp=datetime(1, 1, 1, tzinfo=UTC))
    late = msgspec.structs.replace(_events(1)[0], timestamp=datetime(9999, 1, 1, tzinfo=UTC))
    assert table.deliver(batch_of([event, early, late])) == ["delivered"] * 3, table.errors
    row = next(row for row in table.rows() if row["id"] == event.id)
    assert row["timestamp"] == "2026-03-04 05:06:07.000080"
    assert msgspec.json.decode(row["data"]) == event.data
    assert msgspec.json.decode(row["context"]) == event.context
    assert (row["name"], row["user_id"], row["course_id"]) == ("shop.order.paid", "7001", "course-v1:Org+C1+R1")


def test_a_repeat_is_dropped_by_its_token(server: ClickHouseServer) -> None:
    table = _Table(server, _ddl())
    batch = batch_of(_events(50))
    for _ in range(2):
        assert table.deliver(batch) == ["delivered"] * 50
    assert table.count() == 50


def test_a_repeat_among_others_is_found_by_its_ids(server: ClickHouseServer) -> None:
    for ddl, options in (
        (_ddl(), {}),
        # As Aspects has it: it drops nothing by itself.
        ("CREATE TABLE x (time DateTime, message String) ENGINE = MergeTree ORDER BY time", {"shape": "tracking"}),
    ):
        table = _Table(server, ddl, **options)
        odd = msgspec.structs.replace(_events(1)[0], id="it's \\ one")
        events = [*_events(20), odd]
        assert table.deliver(batch_of(events)) == ["delivered"] * 21, table.errors
        others = _events(5)
        assert table.deliver(replace(batch_of([*events[10:], *others]), attempt=1)) == ["delivered"] * 16
        assert table.deliver(replace(batch_of(events[:3]), maybe_delivered=True)) == ["delivered"] * 3
        assert table.count() == 26


def test_a_row_that_does_not_fit_is_dead_and_no_other_is(server: ClickHouseServer) -> None:
    table = _Table(
        server, "CREATE TABLE x (id String, user_id UInt32, timestamp DateTime) ENGINE = MergeTree ORDER BY timestamp"
    )
    events = _events(9)
    bad = msgspec.structs.replace(events[4], context={**events[4].context, "user_id": "ada"})
    found = table.deliver(batch_of([*events[:4], bad, *events[5:]]))
    assert found == ["delivered"] * 4 + ["invalid"] + ["delivered"] * 4
    assert table.count() == 8


def test_too_many_parts_hold_all_workers_back(server: ClickHouseServer) -> None:
    ddl = (
        "CREATE TABLE x (id String, timestamp DateTime) ENGINE = MergeTree ORDER BY timestamp "
        "SETTINGS parts_to_delay_insert = 1, parts_to_throw_insert = 1"
    )
    table = _Table(server, ddl)
    assert table.deliver(batch_of(_events(2))) == ["delivered"] * 2
    assert table.deliver(batch_of(_events(2))) == ["throttled"] * 2
    assert "TOO_MANY_PARTS (252)" in table.errors


def test_a_table_or_a_setting_that_is_unknown_is_for_somebody_to_mend(server: ClickHouseServer) -> None:
    table = _Table(server, _ddl(), settings={"no_such_setting": "1"})
    assert table.deliver(batch_of(_events(1))) == ["setup"]
    assert "UNKNOWN_SETTING (115)" in table.errors
    missing = _Table(server, _ddl(), database="site")
    server.ask(f"DROP TABLE {missing.name}")
    assert missing.deliver(batch_of(_events(1))) == ["setup"]
    assert "UNKNOWN_TABLE (60)" in missing.errors


_ADA = Person(user_ids=("4242",), usernames=("ada_'1815", "ada_old"), emails=("Ada@Lovelace.example",))
_TRACKING = "CREATE TABLE x (time DateTime, message String) ENGINE = MergeTree ORDER BY time"


def _of_ada() -> list[Event]:
    """Events that name her, in every way."""
    events = _events(7)
    contexts = [{"user_id": 4242}, {"username": "ada_'1815"}, {"session": "x", "path": "/u/ada_old/profile"}]
    of_her = [msgspec.structs.replace(event, context=context) for event, context in zip(events, contexts, strict=False)]
    data = [{"student": "ada_old"}, {"text": "to ADA@lovelace.example"}, {"form": "user_id=4242&x=1"}]
    of_her += [with_data(event, **more) for event, more in zip(events[3:], data, strict=False)]
    return [*of_her, with_data(events[6], payload=msgspec.json.encode({"user": {"id": 4242}}).decode())]


def _not_of_ada() -> list[Event]:
    """Events that have her id where nobody's is, or within another name."""
    data = [{"n": 4242}, {"time": "12:42:42.4242"}, {"note": "ada_older"}, {"username": "ada_older", "id": "4242"}]
    return [with_data(event, **more) for event, more in zip(_events(4), data, strict=True)]


@pytest.mark.parametrize(
    ("ddl", "options"), [(_ddl(), {}), (_TRACKING, {"shape": "tracking"})], ids=["events", "tracking"]
)
def test_a_person_is_taken_out_and_does_not_come_back(
    server: ClickHouseServer, ddl: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_place, "_ROWS_AT_A_TIME", 3)
    table = _Table(server, ddl, **options)
    of_ada, others = _of_ada(), _not_of_ada()
    events = [*of_ada, *others]
    assert table.deliver(batch_of(events)) == ["delivered"] * 11, table.errors
    (place,) = table.destination.places()
    (seen,) = place.look(_ADA, lambda *_: None)
    assert (seen.events, seen.of, seen.left) == (7, 11, "")

    (done,) = place.forget(_ADA, Deletion(), lambda *_: None)
    assert (done.events, done.of, done.left) == (7, 11, "")
    assert table.count() == 4
    (seen,) = place.look(_ADA, lambda *_: None)
    assert (seen.events, seen.of, seen.left) == (0, 4, "")

    # Whoever takes the batch over leaves her out; whoever does not know of her is refused by the token.
    batch = batch_of(events)
    again = replace(batch, payloads=batch.payloads[7:], forgotten=tuple(range(7)), maybe_delivered=True)
    assert table.deliver(again) == ["delivered"] * 4
    if not options:
        assert table.deliver(batch) == ["delivered"] * 11
    assert table.count() == 4
    mutations = server.ask(f"SELECT command FROM system.mutations WHERE table = '{table.name}'")  # noqa: S608
    assert mutations
    logged = f"{mutations}{server.logged()}{done}".lower()
    assert not [name for name in ("4242", "ada_", "ada%5f", "lovelace") if name in logged]


def test_what_the_server_does_not_do_is_left(server: ClickHouseServer) -> None:
    table = _Table(server, "CREATE TABLE x (timestamp DateTime, id String) ENGINE = Memory")
    for change, words in (
        (f"RENAME TABLE {table.name} TO {table.name}_old", "UNKNOWN_TABLE (60): create the table"),
        (f"CREATE VIEW {table.name} AS SELECT 'ada_old' AS username", "delete there by hand"),
    ):
        server.ask(change)
        (place,) = table.destination.places()
        (done,) = place.forget(_ADA, Deletion(), lambda *_: None)
        assert words in done.left
        assert "ada_old" not in done.left


def test_the_file_of_the_table_is_part_of_the_package() -> None:
    import dispatcher.tasks.destinations.clickhouse as package

    assert (Path(package.__file__).parent / "events.sql").is_file()
