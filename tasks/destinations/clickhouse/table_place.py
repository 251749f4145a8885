"""TablePlace: the rows of a table that name a person: found by the server, read here, and deleted by their ids.

What the server keeps of a deletion, in ``system.mutations`` and its logs, are ids of events or hashes of lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dispatcher.errors import DispatcherError
from dispatcher.forgetting.place import Found
from dispatcher.tasks.destinations.clickhouse.codes import code_of, outcome_of_exception
from dispatcher.tasks.destinations.clickhouse.names_search import PATTERNS, Column, NamesSearch
from dispatcher.tasks.destinations.http import Answer, NoAnswer, Request
from dispatcher.tasks.destinations.http.client import HttpClient

if TYPE_CHECKING:
    from dispatcher.forgetting.change import Change
    from dispatcher.forgetting.person import Person
    from dispatcher.forgetting.place import Watcher
    from dispatcher.tasks.destinations.clickhouse.row import Shape

# Rows of one answer, and the most bytes of it: rows of usual size are some megabytes.
_ROWS_AT_A_TIME: Final = 2000
_MAX_ANSWER_BYTES: Final = 64 << 20
# Rows of one deletion: a replicated server keeps its text in one node of Keeper, which holds a MiB.
_DELETED_AT_A_TIME: Final = 5000
# Seconds for one answer: a query reads the whole table, a deletion writes all of its parts anew that have such a row.
_ANSWER_SECONDS: Final = 3600.0

# What to do about an exception that a worker's inserts do not get.
_REMEDIES: Final = {
    1: "this table cannot delete rows: name the tables that it stands for, each in a destination of its own",
    36: "this table cannot delete rows: name the tables that it stands for, each in a destination of its own",
    47: "the table lacks a column by which rows are known: delete there by hand",
    48: "this table cannot delete rows: name the tables that it stands for, each in a destination of its own",
    164: "the user may only read: let it ALTER DELETE",
    497: "let this user SELECT from the table, and ALTER DELETE",
}


class _RefusedError(DispatcherError):
    """The server did not do what it was asked for; says what to do, and repeats none of its words."""


class TablePlace:
    """One table: a ``Place``. For one thread; workers go on inserting meanwhile.

    Args:
        destination: The name of the destination.
        label: What errors call the server.
        table: The table's name.
        shape: Its shape.
        request: Makes a request of a query and a body.
        connect_seconds: How long connecting may take.
    """

    def __init__(
        self,
        destination: str,
        label: str,
        table: str,
        shape: Shape,
        *,
        request: Callable[[Mapping[str, str], bytes, str], Request],
        connect_seconds: float,
    ) -> None:
        self.name: Final = destination
        self._where = f"{label}, table {table}"
        self._table = table
        self._shape: Final = shape
        self._request = request
        self._label = label
        self._client = HttpClient(
            label=label,
            connect_seconds=connect_seconds,
            answer_seconds=_ANSWER_SECONDS,
            connections=1,
            max_body_bytes=_MAX_ANSWER_BYTES,
        )

    def look(self, person: Person, watch: Watcher) -> Iterator[Found]:
        """How many rows name the person."""
        yield self._go_through(person, watch, is_change=False)

    def forget(self, person: Person, change: Change, watch: Watcher) -> Iterator[Found]:
        """Delete them, also where the others become pseudonyms."""
        yield self._go_through(person, watch, is_change=True)

    def _go_through(self, person: Person, watch: Watcher, *, is_change: bool) -> Found:
        search = NamesSearch(self._table, self._shape, person)
        try:
            (counted,) = self._ask({}, f"SELECT count() AS n FROM {self._table} FORMAT JSONEachRow".encode())  # noqa: S608
            rows = sorted(self._find(search, watch))
            if is_change:
                for start in range(0, len(rows), _DELETED_AT_A_TIME):
                    watch(f"deleting in {self._table}", start, len(rows))
                    self._ask({}, search.deletion(rows[start : start + _DELETED_AT_A_TIME]).encode())
        except DispatcherError as error:
            return Found(place=self.name, where=self._where, left=str(error))
        finally:
            self._client.close()
        return Found(place=self.name, where=self._where, events=len(rows), of=int(counted["n"]))

    def _find(self, search: NamesSearch, watch: Watcher) -> set[tuple[int, str]]:
        """Time and key of each row that names the person."""
        described = self._ask({}, f"DESCRIBE TABLE {self._table} FORMAT JSONEachRow".encode())
        columns = msgspec.convert(described, list[Column])
        found: set[tuple[int, str]] = set()
        behind: tuple[int, str] | None = None
        limit = _ROWS_AT_A_TIME
        while True:
            watch(f"reading {self._table}", 0, 0)
            body, content_type = search.body()
            query = {
                "query": search.query(columns, behind, limit),
                f"{PATTERNS}_structure": "pattern String",
                f"{PATTERNS}_format": "JSONEachRow",
            }
            rows = self._ask(query, body, content_type, is_large=limit > 1)
            if rows is None:
                limit = max(1, limit // 8)
                continue
            for row in rows:
                behind = int(row.pop("~time")), row.pop("~key")
                if search.is_named_in(row):
                    found.add(behind)
            if len(rows) < limit:
                return found

    def _ask(
        self, query: Mapping[str, str], body: bytes, content_type: str = "text/plain", *, is_large: bool = False
    ) -> Any:
        """The rows that a query answers. None for an answer that is too large, where that may be."""
        answer = self._client.send(self._request({"wait_end_of_query": "1", **query}, body, content_type))
        if isinstance(answer, NoAnswer):
            raise _RefusedError(f"{answer.outcome.error}; it may still be at work: run it again later")
        if is_large and answer.fault is not None and len(answer.body) >= _MAX_ANSWER_BYTES:
            return None
        if (why := self._refusal(answer)) is not None:
            raise _RefusedError(why)
        return [msgspec.json.decode(line) for line in answer.body.splitlines() if line]

    def _refusal(self, answer: Answer) -> str | None:
        outcome = outcome_of_exception(answer, label=self._label)
        if outcome is not None:
            error = getattr(outcome, "error", "")
            remedy = _REMEDIES.get(code_of(answer) or 0)
            return f"{error.partition(':')[0]}: {remedy}" if remedy else f"{error}; run it again"
        if not 200 <= answer.status < 300:
            return f"{self._label} answered {answer.status}: is this ClickHouse's HTTP interface?"
        return None if answer.fault is None else f"{self._label} sent an answer that {answer.fault}; run it again"
