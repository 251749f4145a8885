"""``dispatcher export tableau``: an extract for Tableau, from what ``export parquet`` has written."""

from __future__ import annotations

from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

import click

from dispatcher.cli.input.parquet_days import parquet_options, read_days
from dispatcher.cli.output.export_summary import export_progress
from dispatcher.cli.output.warehouse_summary import print_warehouse_summary
from dispatcher.installation.extras import install_command


@click.command()
@parquet_options()
@click.option(
    "--to",
    "target",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The .hyper file. Its directory is made if it is missing.",
)
@click.option("--column", "columns", multiple=True, metavar="NAME", help="Only this column, and others named so.")
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON.")
def tableau(
    source: Path, since: datetime | None, until: datetime | None, target: Path, columns: tuple[str, ...], as_json: bool
) -> None:
    """Write an extract for Tableau, a .hyper file, from the Parquet files of dispatcher export parquet.

    It has one table, Extract, with a row for each event, and the columns of the Parquet files. Times are in UTC,
    without a zone.

    Run it after each export to Parquet: new files are added to a copy of the extract, and the copy takes its place at
    once. If a file has changed or is gone, as after a person was forgotten, the extract is made anew from what is
    there. A manifest, NAME.hyper.json, says which files are in it.

    \b
    Examples:
      dispatcher export parquet --from /var/log/tracking.log --to /srv/events
      dispatcher export tableau --from /srv/events --to /srv/tableau/events.hyper
      dispatcher export tableau --from /srv/events --to small.hyper --column timestamp --column course_id

    Exit code 0 if the extract has every row of the files.
    """
    if find_spec("tableauhyperapi") is None or find_spec("pyarrow") is None:
        missing = "tableau" if find_spec("pyarrow") else "export"
        raise click.ClickException(f"a package is missing: {install_command(missing)}")
    from dispatcher.exports.warehouse.tableau import TableauExtract  # noqa: PLC0415 - the extra

    if target.suffix != ".hyper":
        raise click.UsageError("--to: Tableau opens files whose names end in .hyper")
    process = TableauExtract(source, read_days(source, since, until), target, columns)
    with export_progress() as progress:
        task = progress.add_task("writing rows", total=None)
        manifest = process.run(lambda done, total: progress.update(task, completed=done, total=total))
    print_warehouse_summary(manifest, target, as_json=as_json)
