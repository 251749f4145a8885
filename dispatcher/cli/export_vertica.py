"""``dispatcher export vertica``: edX's table ``event_records``, from what ``export parquet`` has written."""

from __future__ import annotations

import os
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dispatcher.cli.input.logs import directory_option
from dispatcher.cli.input.parquet_days import parquet_options, read_days
from dispatcher.cli.output.export_summary import export_progress
from dispatcher.cli.output.warehouse_summary import print_warehouse_summary
from dispatcher.installation.extras import install_command

if TYPE_CHECKING:
    from dispatcher.exports.warehouse.event_record import RulesName
    from dispatcher.exports.warehouse.vertica import VerticaServer
    from dispatcher.exports.warehouse.vertica_sql import VerticaTables

# Enough for the times and names of an event whose other fields had to give way; and what LONG VARCHAR takes.
_RAW_EVENT_OCTETS = click.IntRange(4_000, 32_000_000)


@click.command()
@parquet_options(required=False)
@directory_option(required=False)
@click.option("--ddl", is_flag=True, help="Only print the statements that make the tables.")
@click.option("--host", envvar="VSQL_HOST", show_envvar=True, help="Load into the database on this host.")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=5433, show_default=True, envvar="VSQL_PORT", show_envvar=True
)
@click.option("--database", envvar="VSQL_DATABASE", show_envvar=True, default="", help="The database's name.")
@click.option("--user", envvar="VSQL_USER", show_envvar=True, help="Who loads. The password is in VSQL_PASSWORD.")
@click.option(
    "--tls",
    type=click.Choice(["disable", "prefer", "require", "verify-ca", "verify-full"]),
    default="prefer",
    show_default=True,
    help="Whether the connection is encrypted.",
)
@click.option("--schema", default="public", show_default=True, help="The schema of the tables.")
@click.option("--table", default="event_records", show_default=True, help="The table; _staging is beside it.")
@click.option(
    "--rules",
    type=click.Choice(["own", "edx"]),
    default="own",
    show_default=True,
    help="edx leaves out what edX's pipeline did: events without a source, or with a payload other than an object.",
)
@click.option(
    "--raw-event-octets",
    type=_RAW_EVENT_OCTETS,
    default=60_000,
    show_default=True,
    help="The length of raw_event; over 65000 it is a LONG VARCHAR.",
)
@click.option("--prune", is_flag=True, help="Empty the days, too, that were loaded and have no Parquet files any more.")
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON.")
def vertica(
    source: Path | None,
    since: datetime | None,
    until: datetime | None,
    directory: Path | None,
    ddl: bool,
    host: str | None,
    port: int,
    database: str,
    user: str | None,
    tls: str,
    schema: str,
    table: str,
    rules: RulesName,
    raw_event_octets: int,
    prune: bool,
    as_json: bool,
) -> None:
    """Load edX's table event_records in Vertica from the Parquet files of dispatcher export parquet.

    A day is loaded into a staging table, and takes the place of the table's partition at once. Days that are loaded
    and have not changed are not loaded again: _vertica in the directory of the Parquet files remembers them. A load
    that was interrupted goes on if you run it again.

    With --to the same rows become files, with a script for vsql that loads them by hand.

    Tested against a server that speaks Vertica's protocol, and not against Vertica itself.

    \b
    Examples:
      dispatcher export vertica --ddl
      dispatcher export vertica --from /srv/events --host vertica.example.com --database edx --user loader
      dispatcher export vertica --from /srv/events --to /srv/vertica --since 2026-01-01

    Exit code 0 if the table, or the files, have every row.
    """
    needed = {"pyarrow": "export"} | ({} if directory or ddl else {"vertica_python": "vertica"})
    for module, extra in needed.items():
        if find_spec(module) is None:
            raise click.ClickException(f"a package is missing: {install_command(extra)}")
    from dispatcher.exports.warehouse.day_writing import DayWriting  # noqa: PLC0415 - the extra
    from dispatcher.exports.warehouse.event_record import columns_with  # noqa: PLC0415 - the extra
    from dispatcher.exports.warehouse.vertica_files import vertica_files  # noqa: PLC0415 - the extra
    from dispatcher.exports.warehouse.vertica_sql import VerticaTables  # noqa: PLC0415 - the extra

    tables = VerticaTables(schema, table)
    if ddl:
        click.echo(tables.ddl(columns_with(raw_event_octets)), nl=False)
        return
    if source is None:
        raise click.UsageError("name the directory of the Parquet files by --from")
    days = read_days(source, since, until)
    with export_progress() as progress:
        task = progress.add_task("reading rows", total=None)

        def watch(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        if directory is not None:
            manifest = DayWriting(source, days, directory, vertica_files(tables, rules, raw_event_octets)).run(watch)
        else:
            from dispatcher.exports.warehouse.vertica import VerticaLoad, VerticaPlan  # noqa: PLC0415 - the extra

            server = _server(host, port, database, user, tls)
            plan = VerticaPlan(tables=tables, rules=rules, raw_event_octets=raw_event_octets, prune=prune)
            manifest = VerticaLoad(source, days, server, plan, _manifest(source, server, tables)).run(watch)
    print_warehouse_summary(manifest, directory or f"{tables.target} on {host}", as_json=as_json)


def _server(host: str | None, port: int, database: str, user: str | None, tls: str) -> VerticaServer:
    from dispatcher.exports.warehouse.vertica import VerticaServer  # noqa: PLC0415 - the extra

    if host is None or user is None:
        missing = "--host" if host is None else "--user"
        raise click.UsageError(f"{missing} is missing: say where to load, or have files written by --to")
    password = os.environ.get("VSQL_PASSWORD", "")
    return VerticaServer(host=host, port=port, database=database, user=user, password=password, tls=tls)


def _manifest(source: Path, server: VerticaServer, tables: VerticaTables) -> Path:
    """Of one table on one server."""
    name = f"{server.host}-{server.port}-{server.database}-{tables.target}".replace("/", "_")
    return source / "_vertica" / f"{name}.json"
