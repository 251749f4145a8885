"""Vertica files: what COPY loads, a file for each day, and a script for vsql that loads them, for loading by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dispatcher.exports.warehouse.day_writing import LineFormat
from dispatcher.exports.warehouse.event_record import SOURCE_COLUMNS, EventRecords, RulesName, columns_with
from dispatcher.exports.warehouse.manifest import LoadedDay
from dispatcher.exports.warehouse.vertica_sql import SET_TIMEZONE, VerticaTables


def vertica_files(tables: VerticaTables, rules: RulesName, raw_event_octets: int) -> LineFormat:
    """Files ``event_records-YYYY-MM-DD.tsv.gz``, the tables' ``ddl.sql``, and ``load.sql``."""

    def companions(days: Sequence[LoadedDay]) -> Mapping[str, str]:
        return {"ddl.sql": tables.ddl(columns_with(raw_event_octets)), "load.sql": load_script(tables, days)}

    return LineFormat(
        name="vertica",
        options={"table": tables.target, "rules": rules, "raw_event_octets": raw_event_octets},
        columns=SOURCE_COLUMNS,
        start=lambda: EventRecords(rules, raw_event_octets),
        file_name=lambda day: f"{tables.table}-{day}.tsv.gz",
        companions=companions,
    )


def load_script(tables: VerticaTables, days: Sequence[LoadedDay]) -> str:
    """A script for vsql, to be run in the directory of the files. Run again it changes nothing."""
    lines = ["-- vsql -f load.sql, in this directory, once ddl.sql was run.", "\\set ON_ERROR_STOP on"]
    lines.append(f"{SET_TIMEZONE};")
    for day in days:
        for file in day.files:
            copy = tables.copy(f"LOCAL '{file.file}' GZIP")
            lines += [
                "",
                f"-- {day.day}: {file.rows} rows",
                f"{tables.empty_staging};",
                f"{copy};",
                "COMMIT;",
                f"{tables.swap(day.day)};",
                f"{tables.empty_staging};",
            ]
    return "\n".join(lines) + "\n"
