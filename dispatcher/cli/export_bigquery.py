"""``dispatcher export bigquery``: load files for BigQuery, from what ``export parquet`` has written."""

from __future__ import annotations

from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

import click

from dispatcher.cli.input.logs import directory_option
from dispatcher.cli.input.parquet_days import parquet_options, read_days
from dispatcher.cli.output.export_summary import export_progress
from dispatcher.cli.output.warehouse_summary import print_warehouse_summary
from dispatcher.installation.extras import install_command


@click.command()
@parquet_options()
@directory_option()
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON.")
def bigquery(source: Path, since: datetime | None, until: datetime | None, directory: Path, as_json: bool) -> None:
    """Write load files for BigQuery from the Parquet files of dispatcher export parquet.

    A file of compressed JSON lines for each day, for a table tracking_log with the fields that simeon's and
    edx2bigquery's users have; its schema.json; and load.sh, which loads each day into its partition by bq, in place of
    what is there.

    Days that are written and have not changed are not written again; the files of days that are gone are removed.

    \b
    Examples:
      dispatcher export bigquery --from /srv/events --to /srv/bigquery
      sh /srv/bigquery/load.sh my-project:my_dataset

    Exit code 0 if the files have every row.
    """
    if find_spec("pyarrow") is None:
        raise click.ClickException(f"exports are not installed: {install_command('export')}")
    from dispatcher.exports.warehouse.bigquery_files import bigquery_files  # noqa: PLC0415 - the extra
    from dispatcher.exports.warehouse.day_writing import DayWriting  # noqa: PLC0415 - the extra

    process = DayWriting(source, read_days(source, since, until), directory, bigquery_files())
    with export_progress() as progress:
        task = progress.add_task("reading rows", total=None)
        manifest = process.run(lambda done, total: progress.update(task, completed=done, total=total))
    print_warehouse_summary(manifest, directory, as_json=as_json)
