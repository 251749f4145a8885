"""EventTable: the Iceberg table of events, as it is now: made where it is missing, refused where it is another one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any, Final

import pyarrow as pa
from pyiceberg import exceptions
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.sorting import SortField, SortOrder
from pyiceberg.transforms import DayTransform, IdentityTransform
from pyiceberg.types import LongType, NestedField, StringType, TimestamptzType

from dispatcher.errors import DispatcherError
from dispatcher.exports.event_rows import SCHEMA

#: The partition's name, as other writers of Iceberg would call it.
PARTITION: Final = "timestamp_day"
_TIMESTAMP: Final = "timestamp"
# The version of the format that all of today's readers know.
_PROPERTIES: Final = {
    "format-version": "2",
    "write.parquet.compression-codec": "zstd",
    # Or each commit leaves a file with all of the table's history behind.
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "100",
}
_TYPES: Final = {
    pa.string(): StringType(),
    pa.int64(): LongType(),
    pa.timestamp("us", tz="UTC"): TimestamptzType(),
}
# The package's own exceptions, which say nothing of credentials.
_OWN_ERRORS: Final = tuple(
    found for found in vars(exceptions).values() if isinstance(found, type) and issubclass(found, Exception)
)


class EventTable:
    """A table of a catalog. For one thread.

    Args:
        catalog: Where it is.
        identifier: Its name, with its namespace, such as ``analytics.events``.
    """

    def __init__(self, catalog: Catalog, identifier: str) -> None:
        self._catalog = catalog
        self._identifier = identifier
        self._uuid: Any = None

    def __str__(self) -> str:
        return self._identifier

    def load_or_make(self) -> Table:
        """The table as it is now. It is made where it is missing. Raises as ``load``."""
        with named_errors(self):
            if not self._catalog.table_exists(self._identifier):
                self._catalog.create_namespace_if_not_exists(self._identifier.rpartition(".")[0])
                self._catalog.create_table_if_not_exists(
                    self._identifier,
                    _schema(),
                    partition_spec=PartitionSpec(PartitionField(_id_of(_TIMESTAMP), 1000, DayTransform(), PARTITION)),
                    sort_order=SortOrder(
                        *(SortField(_id_of(name), IdentityTransform()) for name in ("course_id", _TIMESTAMP))
                    ),
                    properties=_PROPERTIES,
                )
        return self.load()

    def load(self) -> Table:
        """The table as it is now, whose commits fail where another writer was faster.

        Raises:
            DispatcherError: It is missing, is not a table of events by day, was replaced by another one since it was
                first loaded, or the catalog does not answer.
        """
        with named_errors(self):
            table = self._catalog.load_table(self._identifier)
        self._uuid = self._uuid or table.metadata.table_uuid
        if table.metadata.table_uuid != self._uuid:
            raise DispatcherError(
                f"the table {self} was replaced by another one meanwhile: look who else writes there, and export again"
            )
        _check(self, table)
        # pyiceberg itself would try again, and so append what another writer has just appended. In this copy only.
        properties = {**table.metadata.properties, "commit.retry.num-retries": "0"}
        table.metadata = table.metadata.model_copy(update={"properties": properties})
        return table


def open_catalog(name: str | None, properties: dict[str, str | None]) -> Catalog:
    """The catalog of that name in pyiceberg's own settings and variables, with these properties on top.

    Raises:
        DispatcherError: Nothing is known of it, or its properties say nothing that can be used.
    """
    with named_errors(f"catalog {name or 'default'}"):
        return load_catalog(name, **properties)


def within(day: str) -> str:
    """The events of a day, as a filter of rows."""
    next_day = date.fromisoformat(day) + timedelta(days=1)
    return f"{_TIMESTAMP} >= '{day}T00:00:00+00:00' and {_TIMESTAMP} < '{next_day}T00:00:00+00:00'"


def with_ids(rows: pa.Table, table: Table) -> pa.Table:
    """Rows with the ids by which Iceberg knows columns."""
    schema = table.schema()
    fields = [
        field.with_metadata({b"PARQUET:field_id": str(schema.find_field(field.name).field_id)}) for field in SCHEMA
    ]
    return rows.cast(pa.schema(fields))


@contextmanager
def named_errors(what: object) -> Iterator[None]:
    """Translate what pyiceberg, and the libraries that it stands on, raise. An outcome of a commit is not among it."""
    try:
        yield
    except (DispatcherError, exceptions.CommitFailedException):
        raise
    except _OWN_ERRORS as error:
        why = str(error).partition("\n")[0] or type(error).__name__
        raise DispatcherError(f"{what}: {why}. Run it again in the same way to go on") from error
    except Exception as error:  # any catalog's own library: of Glue, of Hive, of a database
        raise DispatcherError(
            f"{what}: the catalog or its storage has failed ({type(error).__name__}): look at its address and "
            "credentials, and run it again in the same way to go on"
        ) from error


def _schema() -> Schema:
    return Schema(
        *(
            NestedField(number, field.name, _TYPES[field.type], required=not field.nullable)
            for number, field in enumerate(SCHEMA, 1)
        )
    )


def _id_of(name: str) -> int:
    return int(SCHEMA.get_field_index(name)) + 1


def _check(name: EventTable, table: Table) -> None:
    schema, ours = table.schema(), _schema()
    columns = {field.name: field for field in schema.fields}
    for field in ours.fields:
        if field.name not in columns or columns[field.name].field_type != field.field_type:
            raise DispatcherError(
                f"the table {name} has no column {field.name} of type {field.field_type}: name another table"
            )
    if other := [field.name for field in schema.fields if field.required and field.name not in SCHEMA.names]:
        raise DispatcherError(f"the table {name} requires the column {other[0]}, which events have not: name another")
    by = [(field.source_id, field.transform) for field in table.spec().fields]
    if by != [(columns[_TIMESTAMP].field_id, DayTransform())]:
        raise DispatcherError(f"the table {name} is not partitioned by the day of timestamp alone: name another")
