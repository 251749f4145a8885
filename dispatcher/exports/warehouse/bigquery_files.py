"""BigQuery files: NDJSON for load jobs, a file for each day; the table's schema; and a script that loads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from dispatcher.exports.warehouse.bigquery_schema import SCHEMA
from dispatcher.exports.warehouse.day_writing import LineFormat
from dispatcher.exports.warehouse.manifest import LoadedDay
from dispatcher.exports.warehouse.tracking_log_record import SOURCE_COLUMNS, TrackingLogRecords

_SCRIPT: Final = Path(__file__).with_name("load_bigquery.sh")
_DIGEST_CHARACTERS: Final = 16


def bigquery_files() -> LineFormat:
    """Files ``tracking_log-YYYYMMDD.json.gz``, the table's ``schema.json``, and ``load.sh``."""

    def companions(days: Sequence[LoadedDay]) -> Mapping[str, str]:
        files = [
            f"{_partition(day.day)} {file.file} {file.sha256[:_DIGEST_CHARACTERS]}"
            for day in days
            for file in day.files
        ]
        return {"schema.json": schema_json(), "load.sh": _SCRIPT.read_text().replace("@FILES@", "\n".join(files))}

    return LineFormat(
        name="bigquery",
        options={},
        columns=SOURCE_COLUMNS,
        start=TrackingLogRecords,
        file_name=lambda day: f"tracking_log-{_partition(day)}.json.gz",
        companions=companions,
    )


def schema_json() -> str:
    """The table's schema, as ``bq`` takes it."""
    return msgspec.json.format(msgspec.json.encode([field.to_json() for field in SCHEMA]), indent=2).decode() + "\n"


def _partition(day: str) -> str:
    """A day as it names its partition."""
    return day.replace("-", "")
