"""ClickHouse: inserts events over HTTP, with a token for each insert by which the server drops one that it has.

The token is a digest of the events' ids, so the same events have the same one wherever they come again. They may come
with others, though: so what was tried before is looked for in the table first, and only what is missing is inserted.
Source: https://clickhouse.com/docs/interfaces/http and https://clickhouse.com/docs/guides/developer/deduplicating-inserts-on-retries.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import msgspec
from pydantic import Field, SecretStr

from dispatcher.destinations.base import Batch, reveal
from dispatcher.destinations.traits import CLICKHOUSE
from dispatcher.forgetting.places.unreachable import Unreachable
from dispatcher.outcomes import DELIVERED, Delivered, RetryAfter
from dispatcher.tasks.destinations.clickhouse.codes import outcome_of_exception
from dispatcher.tasks.destinations.clickhouse.row import Row, Rows, Shape
from dispatcher.tasks.destinations.clickhouse.table_place import TablePlace
from dispatcher.tasks.destinations.http import Answer, HttpDestination, HttpOptions, Limits, NoAnswer, Request
from dispatcher.tasks.destinations.http.packing import Entry, to_entry
from dispatcher.tasks.destinations.http.reader import EventReader
from dispatcher.tasks.destinations.http.urls import BaseUrl
from dispatcher.tasks.destinations.window import WindowSeconds, wait_for_more

if TYPE_CHECKING:
    from dispatcher.event import Event
    from dispatcher.forgetting.place import Place
    from dispatcher.outcomes import Outcome
    from dispatcher.rules.rules import Rules
    from dispatcher.store.rate_limit import Rate

# A table's name, perhaps with its database's.
_TABLE: Final = r"^[A-Za-z_][A-Za-z0-9_]{0,100}(\.[A-Za-z_][A-Za-z0-9_]{0,100})?$"
# Bytes of rows from which on an insert is worth its part.
_ENOUGH_BYTES: Final = 4_000_000
# Ids in one question. The answer is shorter than the MiB that is read of it.
_IDS_AT_A_TIME: Final = 5000


class ClickHouseOptions(HttpOptions):
    """The settings of a table."""

    url: BaseUrl = Field(description="Of the server's HTTP interface, such as https://clickhouse.example.org:8443.")
    table: str = Field(default="events", pattern=_TABLE, description="Which table, perhaps as database.table.")
    database: str | None = Field(default=None, description="The table's database; absent: the user's own.")
    shape: Shape = Field(
        default="events", description='"events": columns of its own; "tracking": time and message, as Aspects has them.'
    )
    username: str | None = Field(default=None, description="The user; absent: the server's default one.")
    password: SecretStr | None = Field(default=None, description="Of that user.")
    wait_seconds: WindowSeconds = Field(
        default=5, description="How long events wait at the most to go together in a larger insert; 0: not at all."
    )
    max_events: int = Field(default=10_000, ge=1, le=100_000, description="Most rows in an insert.")
    max_bytes: int = Field(
        default=10_000_000, ge=1000, le=100_000_000, description="Most bytes in an insert, before gzip."
    )
    settings: dict[str, str] = Field(
        default_factory=dict, description='More settings of each insert, such as insert_quorum = "2".'
    )
    check_repeats: bool = Field(
        default=True, description="Whether what may have been inserted is looked for first, by a SELECT."
    )


class ClickHouse(HttpDestination[ClickHouseOptions, Row]):
    """A table."""

    Options = ClickHouseOptions
    deletion = "here"
    deletion_steps = "Its user needs ALTER DELETE on the table. Backups of the server keep the rows."
    traits = CLICKHOUSE
    takes_gzip = True

    def __init__(
        self, name: str, options: ClickHouseOptions, *, rules: Rules | None = None, rate: Rate | None = None
    ) -> None:
        self.limits = Limits(events=options.max_events, request_bytes=options.max_bytes)
        self._rows = Rows(options.shape)
        super().__init__(name, options, rules=rules, rate=rate)

    @property
    def endpoint(self) -> str:
        return f"{self.options.url}/"

    def missing_settings(self) -> str | None:
        if self.options.username is None or self.options.password is not None:
            return None
        return f"{self.label} has a username and no password: set {self.variable('password')}; events wait until then"

    def item(self, event: Event) -> Row:
        return self._rows.row(event)

    def item_bytes(self, item: Row) -> int:
        return len(item.json)

    def body_bytes(self, items: Sequence[Row], items_bytes: int) -> int:
        """The rows, each with its line break."""
        return items_bytes + len(items)

    def request(self, items: Sequence[Row]) -> Request:
        token = hashlib.sha256(msgspec.json.encode([row.id for row in items])).hexdigest()
        query = {
            "query": f"INSERT INTO {self.options.table} FORMAT JSONEachRow",
            # Repeats: by this token, also where the server's own users have them off, and never after the answer.
            "insert_deduplicate": "1",
            "insert_deduplication_token": token,
            "async_insert": "0",
            "wait_for_async_insert": "1",
            "async_insert_deduplicate": "1",
            # One block, so that all rows of a month are there or none is.
            "input_format_parallel_parsing": "0",
            "max_insert_block_size": "1048576",
            # What the table lacks is passed over.
            "input_format_skip_unknown_fields": "1",
            "date_time_input_format": "best_effort",
            # The answer comes once all is done, with the status of how it ended.
            "wait_end_of_query": "1",
            # The server gives up when nobody listens any more.
            "max_execution_time": str(max(1, int(self.options.timeout_seconds))),
            **self.options.settings,
        }
        return Request(
            url=self.endpoint,
            query=query | self._database(),
            body=b"".join(row.json + b"\n" for row in items),
            headers={"Content-Type": "application/x-ndjson", **self._authorization()},
        )

    def outcome(self, answer: Answer, items: Sequence[Row]) -> Outcome:
        return outcome_of_exception(answer, label=self.label) or super().outcome(answer, items)

    def places(self) -> Sequence[Place]:
        """The table."""
        if (missing := self.missing_settings()) is not None:
            return (Unreachable(self.name, f"{self.label}, table {self.options.table}", missing),)
        return (
            TablePlace(
                self.name,
                self.label,
                self.options.table,
                self.options.shape,
                request=self._question,
                connect_seconds=self.options.connect_timeout_seconds,
            ),
        )

    def _deliver(self, batches: Sequence[Batch]) -> list[list[Outcome]]:
        wait = self.options.wait_seconds
        if (waits := wait_for_more(batches, window_seconds=wait, enough_bytes=_ENOUGH_BYTES)) is not None:
            return [[waits] * len(batch.payloads) for batch in batches]
        if self.missing_settings() is not None or not self.options.check_repeats or self.options.at_most_once:
            return super()._deliver(batches)
        known = [self._find(batch) if batch.attempt > 0 or batch.maybe_delivered else {} for batch in batches]
        missing = [_without(batch, found) for batch, found in zip(batches, known, strict=True)]
        sent = iter(super()._deliver([batch for batch in missing if batch.payloads]))
        results: list[list[Outcome]] = []
        for batch, rest, found in zip(batches, missing, known, strict=True):
            others: Iterator[Outcome] = iter(next(sent) if rest.payloads else ())
            results.append([found.get(place) or next(others) for place in range(len(batch.payloads))])
        return results

    def _find(self, batch: Batch) -> dict[int, Delivered | RetryAfter]:
        """Which events of a batch need no insert: the table has them, or nobody can say."""
        reader = EventReader(shares_contexts=False)
        made = [to_entry(self, reader, place, payload) for place, payload in enumerate(batch.payloads)]
        entries = [entry for entry in made if isinstance(entry, Entry)]
        found: dict[int, Delivered | RetryAfter] = {}
        for start in range(0, len(entries), _IDS_AT_A_TIME):
            some = entries[start : start + _IDS_AT_A_TIME]
            ids = self._select([entry.item for entry in some])
            if isinstance(ids, RetryAfter):
                return dict.fromkeys(range(len(batch.payloads)), ids)
            found |= {entry.position: DELIVERED for entry in some if entry.event_id in ids}
        return found

    def _select(self, rows: Sequence[Row]) -> set[str] | RetryAfter:
        query = self._rows.query(self.options.table, rows)
        request = self._question({"wait_end_of_query": "1"}, query.encode("utf-8", "replace"), "text/plain")
        answer = self.send_built(lambda: request)
        if isinstance(answer, NoAnswer):
            return answer.outcome
        outcome = self.outcome(answer, rows)
        if isinstance(outcome, Delivered) and answer.fault is None:
            return {str(msgspec.json.decode(line)["found"]) for line in answer.body.splitlines()}
        if isinstance(outcome, RetryAfter):
            return outcome
        return RetryAfter(f"{self.label} did not say which rows it has", None, "setup")

    def _question(self, query: Mapping[str, str], body: bytes, content_type: str) -> Request:
        """A request that inserts nothing. It is not compressed."""
        headers = {"Content-Type": content_type, **self._authorization()}
        return Request(url=self.endpoint, query={**query, **self._database()}, body=body, headers=headers)

    def _database(self) -> dict[str, str]:
        return {} if self.options.database is None else {"database": self.options.database}

    def _authorization(self) -> dict[str, str]:
        if self.options.username is None:
            return {}
        return {"X-ClickHouse-User": self.options.username, "X-ClickHouse-Key": reveal(self.options.password)}


def _without(batch: Batch, found: dict[int, Any]) -> Batch:
    payloads = tuple(payload for place, payload in enumerate(batch.payloads) if place not in found)
    return batch if not found else replace(batch, payloads=payloads)
