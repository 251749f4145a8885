"""ParquetFile: the rows of an export that name a person: found by their text, read, and changed in a new file."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import reduce
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dispatcher.exports.day_files import write_rows
from dispatcher.exports.target import place
from dispatcher.exports.written_json import write_like
from dispatcher.forgetting.change import Change
from dispatcher.forgetting.person import Person
from dispatcher.forgetting.search import forms_of

# Lines that were broken are not there, and a row's other columns say nothing of who.
_WHOLE: Final = ("user_id", "username", "anonymous_id", "session")
# Columns whose text is JSON.
_OF_JSON: Final = ("event", "context")


def go_through(path: Path, person: Person, change: Change | None) -> tuple[int, int]:
    """Count the rows that name the person, or change them. A file of which nothing is left is deleted.

    Reads the whole file into memory: exports make files of some ten thousand rows.

    Args:
        path: The file. It is replaced at once.
        person: Who is looked for.
        change: What becomes of the rows; None: they are only counted.

    Returns:
        How many rows name the person, and how many there are.

    Raises:
        OSError: It cannot be read or written.
    """
    try:
        table = pq.read_table(path, partitioning=None)
    except pa.ArrowException as error:
        raise OSError(f"it cannot be read as Parquet: {error}") from error
    named = rows_naming(table, person)
    if named and change is not None:
        left = change_rows(table, named, change)
        if len(left):
            unfinished = path.with_name(f".{path.name}.forget")
            write_rows(left, unfinished)
            place(unfinished, path)
        else:
            path.unlink()
    return len(named), len(table)


def change_rows(table: pa.Table, places: list[int], change: Change) -> pa.Table:
    """The rows of a table in their order, those at some places as they become."""
    rows = table.take(pa.array(places, pa.int64()))
    before = [_line_of(row) for row in rows.to_pylist()]
    after = [change.record(line) for line in before]
    left = [(at, line) for at, line in enumerate(after) if line is not None]
    changed = rows.take(pa.array([at for at, _ in left], pa.int64()))
    for number, field in enumerate(table.schema):
        texts = changed[field.name].to_pylist()
        values = [
            text if line.get(field.name) == before[at].get(field.name) else _column_of(line, field, text)
            for (at, line), text in zip(left, texts, strict=True)
        ]
        if values != texts:
            changed = changed.set_column(number, field, pa.array(values, field.type))
    # Where each row is among those of before with the changed ones behind them.
    origins = {place: place for place in range(len(table))} | dict.fromkeys(places)
    origins |= {places[at]: len(table) + number for number, (at, _) in enumerate(left)}
    order = [origin for origin in origins.values() if origin is not None]
    return pa.concat_tables([table, changed]).take(pa.array(order, pa.int64()))


def _column_of(line: dict[str, Any], field: pa.Field, text: Any) -> Any:
    """What a changed line says in a column: of another type than text, nothing."""
    value = line.get(field.name)
    if field.name in _OF_JSON and isinstance(text, str) and value is not None:
        return write_like(text, value)
    if isinstance(value, str) and _is_text(field.type):
        return value
    return None if field.nullable else ""


def rows_naming(table: pa.Table, person: Person) -> list[int]:
    """The places of the rows that name a person: found by their text, then read."""
    texts = [field.name for field in table.schema if _is_text(field.type)]
    masks = []
    for name in person.identifiers:
        is_email = "@" in name
        for column in texts:
            if column in _WHOLE and not is_email:
                masks.append(pc.equal(table[column], name))
            else:
                masks += [pc.match_substring(table[column], form, ignore_case=is_email) for form in forms_of(name)]
    found = reduce(pc.or_kleene, masks)
    places = pc.indices_nonzero(pc.fill_null(found, False)).to_pylist()
    rows = table.take(pa.array(places, pa.int64())).to_pylist()
    return [place for place, row in zip(places, rows, strict=True) if person.is_named_in(_line_of(row))]


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _line_of(row: dict[str, Any]) -> dict[str, Any]:
    """The row with what its columns of JSON hold, as its line had it: a browser's payload is text within text."""
    line = dict(row)
    for name in _OF_JSON:
        # A table of another program may have such columns too.
        with suppress(ValueError, TypeError, RecursionError):
            line[name] = json.loads(row.get(name) or "null")
    return line
