"""``dispatcher export``: the tracking log in the forms that analysts' tools read."""

from __future__ import annotations

import os
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dispatcher import config
from dispatcher.cli.export_bigquery import bigquery
from dispatcher.cli.export_iceberg import iceberg
from dispatcher.cli.export_research_package import research_package
from dispatcher.cli.export_tableau import tableau
from dispatcher.cli.export_vertica import vertica
from dispatcher.cli.input.delivered import delivered_to
from dispatcher.cli.input.logs import (
    find_logs,
    find_pseudonyms,
    find_target,
    logs_option,
    pseudonyms_option,
    target_option,
)
from dispatcher.cli.input.times import TIMESTAMP, utc
from dispatcher.cli.output.export_summary import run_export
from dispatcher.installation.extras import install_command
from dispatcher.suppression.suppression_list import suppression_list

if TYPE_CHECKING:
    from dispatcher.exports.bucket.bucket import Bucket


@click.group()
def export() -> None:
    """Write tracking logs in other forms, for the tools of analysts.

    Logs are read as they are: plain, or compressed with gzip or zstd; with what Tutor, syslog or Python's logging put
    before the JSON; being written. What cannot be read is counted and kept aside, line by line.
    """


@export.command()
@logs_option()
@target_option()
@click.option("--since", type=TIMESTAMP, help="Only events at this time, in UTC, or later.")
@click.option("--until", type=TIMESTAMP, help="Only events before this time, in UTC.")
@click.option(
    "--processes",
    type=click.IntRange(1),
    help="How many parts of logs are read at a time, with some 400 MB each; as many as there are processors.",
)
@pseudonyms_option()
@click.option("--again", is_flag=True, help="Read too what an earlier export to this directory has read.")
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON.")
def parquet(
    logs: tuple[Path | Bucket, ...],
    place: Path | Bucket,
    since: datetime | None,
    until: datetime | None,
    processes: int | None,
    key_file: Path | None,
    again: bool,
    as_json: bool,
) -> None:
    """Write tracking logs as Parquet files, a directory date=YYYY-MM-DD for each day in UTC.

    Each event is there once, however often it was logged or exported, and its line is found again by source_file and
    line_number. event and context are JSON text, as they stand in the log. The rows of a file are sorted by course and
    time.

    Run it each night with all logs: what was read before is not read again. An export that was interrupted goes on if
    you run it again in the same way. Files appear at once, so that whoever reads meanwhile sees no half of one.

    --to may be a folder of a bucket: then files are made under the state directory, and put there one by one, each
    whole; one export at a time writes to it, from whatever machine.

    In the directory _manifests is what became of every line; in _broken the lines that could not be read.

    With --pseudonyms the same person has the same pseudonym in every row and every run with that key: ids, user names,
    sessions, e-mail addresses and users in paths, also those of other people whom an event names. Addresses of machines
    and pages are left out, and broken lines are counted only. Names in sentences stay, but for the person's own.

    \b
    Examples:
      dispatcher export parquet --from /var/log/tracking.log --to /srv/events
      dispatcher export parquet --from /backup/tracking-logs --to /srv/events --since 2026-01-01
      dispatcher export parquet --from s3://logs/tracking --to s3://lake/events
      dispatcher export parquet --from /var/log/tracking.log --to /srv/research --pseudonyms /etc/research.key
      duckdb -c "SELECT event_type, count(*) FROM '/srv/events/date=*/*.parquet' GROUP BY ALL ORDER BY 2 DESC"

    Exit code 0 if all logs were read to their ends, 1 if one could not be read on.
    """
    if find_spec("pyarrow") is None:
        raise click.ClickException(f"exports are not installed: {install_command('export')}")
    from dispatcher.exports.parquet import ParquetExport  # noqa: PLC0415 - the extra
    from dispatcher.exports.part_reading import Chosen  # noqa: PLC0415 - the extra

    target = find_target(place)
    found = find_logs(logs)
    process = ParquetExport(
        found,
        target,
        Chosen(since=utc(since), until=utc(until)),
        processes=processes or os.cpu_count() or 1,
        again=again,
        suppressed=suppression_list(config.load().state_directory),
        pseudonyms=find_pseudonyms(key_file),
        delivered=delivered_to(found),
    )
    run_export(process, str(target), as_json=as_json)


export.add_command(bigquery)
export.add_command(iceberg)
export.add_command(research_package)
export.add_command(tableau)
export.add_command(vertica)
