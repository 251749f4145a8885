"""``dispatcher export iceberg``: the tracking log as a table of a lake, for Spark, Trino, Snowflake and others."""

from __future__ import annotations

import os
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dispatcher import config
from dispatcher.cli.input.delivered import delivered_to
from dispatcher.cli.input.logs import export_state, find_logs, find_pseudonyms, logs_option, pseudonyms_option
from dispatcher.cli.input.times import TIMESTAMP, utc
from dispatcher.cli.output.export_summary import run_export
from dispatcher.installation.extras import install_command
from dispatcher.suppression.suppression_list import suppression_list

if TYPE_CHECKING:
    from dispatcher.exports.bucket.bucket import Bucket


@click.command()
@logs_option()
@click.option("--table", required=True, metavar="NAMESPACE.NAME", help="The table. It is made where it is missing.")
@click.option("--catalog", metavar="NAME", help="A catalog of ~/.pyiceberg.yaml or PYICEBERG_CATALOG__NAME__….")
@click.option("--uri", help="The catalog's address, such as https://catalog.example.com or sqlite:////srv/catalog.db.")
@click.option("--warehouse", help="Where new tables go, such as s3://lake/warehouse or file:///srv/warehouse.")
@click.option(
    "--property",
    "properties",
    multiple=True,
    metavar="KEY=VALUE",
    help="What else pyiceberg has to know of the catalog, such as type=glue. Secrets belong into its variables.",
)
@click.option("--since", type=TIMESTAMP, help="Only events at this time, in UTC, or later.")
@click.option("--until", type=TIMESTAMP, help="Only events before this time, in UTC.")
@click.option(
    "--processes",
    type=click.IntRange(1),
    help="How many parts of logs are read at a time, with some 400 MB each; as many as there are processors.",
)
@pseudonyms_option()
@click.option("--again", is_flag=True, help="Read too what an earlier export to this table has read.")
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON.")
def iceberg(
    logs: tuple[Path | Bucket, ...],
    table: str,
    catalog: str | None,
    uri: str | None,
    warehouse: str | None,
    properties: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    processes: int | None,
    key_file: Path | None,
    again: bool,
    as_json: bool,
) -> None:
    """Write tracking logs into an Iceberg table: the rows of `export parquet`, in partitions by day.

    Each event is there once, however often it was logged or exported, by whatever number of machines: a day's new
    events are one commit, and if another writer was faster, what is there is looked at again before the next try.

    Run it each night with all logs: what was read before is not read again. An export that was interrupted goes on if
    you run it again in the same way. What is under way, manifests and broken lines are under exports/ of the state
    directory.

    \b
    Examples:
      dispatcher export iceberg --from /var/log/tracking.log --catalog lake --table analytics.events
      dispatcher export iceberg --from s3://logs/tracking --table analytics.events --property type=glue

    Exit code 0 if all logs were read to their ends, 1 if one could not be read on, or the catalog failed.
    """
    if "." not in table.strip("."):
        raise click.UsageError("--table: give the namespace too, such as analytics.events")
    if find_spec("pyiceberg") is None or find_spec("pyarrow") is None:
        raise click.ClickException(f"Iceberg is not installed: {install_command('iceberg')}")
    from dispatcher.exports.iceberg.address import TableAddress  # noqa: PLC0415 - the extra
    from dispatcher.exports.iceberg.export import IcebergExport  # noqa: PLC0415 - the extra
    from dispatcher.exports.part_reading import Chosen  # noqa: PLC0415 - the extra

    found = find_logs(logs)
    process = IcebergExport(
        found,
        TableAddress(table=table, catalog=catalog, properties=read_properties(uri, warehouse, properties)),
        export_state,
        Chosen(since=utc(since), until=utc(until)),
        processes=processes or os.cpu_count() or 1,
        again=again,
        suppressed=suppression_list(config.load().state_directory),
        pseudonyms=find_pseudonyms(key_file),
        delivered=delivered_to(found),
    )
    run_export(process, str(process.state), as_json=as_json)


def read_properties(uri: str | None, warehouse: str | None, properties: tuple[str, ...]) -> dict[str, str | None]:
    """What pyiceberg is told of a catalog. Raises click.UsageError for a property without ``=``."""
    found: dict[str, str | None] = {}
    for one in properties:
        key, is_given, value = one.partition("=")
        if not key or not is_given:
            raise click.UsageError("--property: write KEY=VALUE, such as type=glue")
        found[key] = value
    named = {"uri": uri, "warehouse": warehouse}
    return found | {key: value for key, value in named.items() if value is not None}
