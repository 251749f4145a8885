"""ParquetFile: the rows of an export that name a person; found by their text, read, and left out of a new file."""

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
from dispatcher.forgetting.person import Person
from dispatcher.forgetting.search import forms_of

# Lines that were broken are not there, and a row's other columns say nothing of who.
_WHOLE: Final = ("user_id", "username", "anonymous_id", "session")


def go_through(path: Path, person: Person, *, is_change: bool) -> tuple[int, int]:
    """Count the rows that name the person, or take them out. A file of which nothing is left is deleted.

    Reads the whole file into memory: exports make files of some ten thousand rows.

    Args:
        path: The file. It is replaced at once.
        person: Who is looked for.
        is_change: Whether rows are taken out.

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
    if named and is_change:
        if len(named) == len(table):
            path.unlink()
        else:
            unfinished = path.with_name(f".{path.name}.forget")
            left = pa.array(sorted(set(range(len(table))) - set(named)), pa.int64())
            write_rows(table.take(left), unfinished)
            place(unfinished, path)
    return len(named), len(table)


def rows_naming(table: pa.Table, person: Person) -> list[int]:
    """The places of the rows that name a person: found by their text, then read."""
    texts = [
        field.name for field in table.schema if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
    ]
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


def _line_of(row: dict[str, Any]) -> dict[str, Any]:
    """The row with what its columns of JSON hold, as its line had it: a browser's payload is text within text."""
    line = dict(row)
    for name in ("event", "context"):
        # A table of another program may have such columns too.
        with suppress(ValueError, TypeError, RecursionError):
            line[name] = json.loads(row.get(name) or "null")
    return line
