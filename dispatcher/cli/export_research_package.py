"""``dispatcher export research-package``: each partner's lines of the tracking log, compressed and encrypted."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dispatcher import config
from dispatcher.cli.input.logs import directory_option, find_logs, logs_option
from dispatcher.cli.output.export_summary import export_progress, print_package_summary
from dispatcher.errors import DispatcherError
from dispatcher.suppression.forgotten_lines import ForgottenLines
from dispatcher.suppression.suppression_list import suppression_list

if TYPE_CHECKING:
    from dispatcher.config.research_package import ResearchPackageSettings
    from dispatcher.exports.bucket.bucket import Bucket
    from dispatcher.exports.research_package.export import By
    from dispatcher.exports.research_package.gnupg import PublicKey
    from dispatcher.exports.research_package.rules import Rules

# A day, in UTC.
_DAY = click.DateTime(["%Y-%m-%d"])


@click.command("research-package")
@logs_option(required=False)
@directory_option(required=False)
@click.option("--since", type=_DAY, help="The first day, as YYYY-MM-DD. Without it, the first of the logs.")
@click.option("--until", type=_DAY, help="The day behind the last one. Without it today, whose log is not complete.")
@click.option("--organisation", "organisations", multiple=True, metavar="NAME", help="Only this partner's package.")
@click.option(
    "--by",
    type=click.Choice(["organisation", "course"]),
    default="organisation",
    show_default=True,
    help="A file for each partner and day; or for each course and day, which is not encrypted.",
)
@click.option("--unencrypted", is_flag=True, help="Write files that everybody can read, for partners without keys too.")
@click.option("--explain", metavar="LINE", help="Only say what becomes of this line of a log; FILE:NUMBER names one.")
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON.")
def research_package(
    logs: tuple[Path | Bucket, ...],
    directory: Path | None,
    since: datetime | None,
    until: datetime | None,
    organisations: tuple[str, ...],
    by: By,
    unencrypted: bool,
    explain: str | None,
    as_json: bool,
) -> None:
    """Write each partner's lines of tracking logs as files for each day, compressed, and encrypted to its keys.

    Partners, their keys and the rules are in the settings, in the table research_package. Nothing is written in clear,
    not even for a moment, and all keys are looked at before anything is written.

    A day's file holds what the logs that are given have of that day, and replaces an earlier one. A manifest,
    _MANIFEST.json, says what became of every line, with the SHA-256 of each file, and of the lines in it.

    \b
    Examples:
      dispatcher export research-package --from /var/log/tracking --to /srv/packages --since 2026-01-01
      dispatcher export research-package --from tracking.log --to /srv/packages --organisation MITx
      dispatcher export research-package --explain tracking.log:4711

    Exit code 0 if all logs were read to their ends, 1 if one could not be read on.
    """
    from dispatcher.exports.research_package.export import (  # noqa: PLC0415 - only this command needs it
        PackagePlan,
        ResearchPackage,
    )
    from dispatcher.exports.research_package.rules import Partner, Rules  # noqa: PLC0415 - only this command needs it

    loaded = config.load()
    settings = loaded.research_package
    if unknown := [name for name in organisations if name not in settings.organisations]:
        known = ", ".join(settings.organisations) or "none"
        raise click.UsageError(f"--organisation: {unknown[0]} has no table in research_package.organisations ({known})")
    tables = settings.organisations
    if organisations:
        tables = {name: tables[name] for name in organisations}
    if not tables and by == "organisation":
        raise click.UsageError(
            "no partner is named in the settings: add [research_package.organisations.NAME] with recipients"
        )
    days = [f"{day:%Y-%m-%d}" if day is not None else "" for day in (since, until or datetime.now(UTC))]
    partners = [
        Partner(name=name, other_names=table.other_names, courses=table.courses) for name, table in tables.items()
    ]
    hosts = settings.excluded_hosts
    rules = Rules(partners, settings.rules, excluded_hosts=hosts, since=days[0], until="" if explain else days[1])
    if explain is not None:
        _explain(explain, rules)
        return
    if not logs or directory is None:
        raise click.UsageError("name the logs by --from, and the directory for the files by --to")
    keys = {} if by == "course" or unencrypted else _read_keys(settings, list(tables))
    forgotten = ForgottenLines(suppression_list(loaded.state_directory))
    plan = PackagePlan(
        rules=rules, rules_name=settings.rules, site=settings.site, keys=keys, by=by, forgotten=forgotten
    )
    process = ResearchPackage(find_logs(logs), directory, plan)
    with export_progress() as progress:
        task = progress.add_task("reading", total=None)
        manifest = process.run(lambda done, total: progress.update(task, completed=done, total=total))
    if as_json:
        click.echo((directory / "_MANIFEST.json").read_text(), nl=False)
    else:
        print_package_summary(manifest, directory)
    raise SystemExit(1 if manifest.ended else 0)


def _read_keys(settings: ResearchPackageSettings, names: list[str]) -> dict[str, list[PublicKey]]:
    """The keys of each partner. Raises DispatcherError for the first that cannot be used."""
    from dispatcher.exports.research_package.gnupg import EXPIRES_SOON, read_key  # noqa: PLC0415 - as above

    found: dict[str, list[PublicKey]] = {}
    now = datetime.now(UTC)
    for name in names:
        files = [*settings.organisations[name].recipients, *((settings.master_key,) if settings.master_key else ())]
        if not files or settings.keys_directory is None:
            missing = "keys_directory" if files else f"organisations.{name}.recipients"
            raise DispatcherError(f"{name} has no keys: set research_package.{missing}, or add --unencrypted")
        found[name] = [read_key(settings.keys_directory / file) for file in files]
        for key in found[name]:
            if key.expires is not None and key.expires < now + EXPIRES_SOON:
                click.echo(f"the key {key.path} of {name} expires on {key.expires.date()}", err=True)
    return found


def _explain(line: str, rules: Rules) -> None:
    path, _, number = line.rpartition(":")
    is_place = number.isdecimal() and Path(path).is_file()
    content = _read_line(Path(path), int(number)) if is_place else line.encode()
    steps: list[str] = []
    rules.decide(content, steps)
    for count, step in enumerate(steps, 1):
        click.echo(f"{count}. {step}")


def _read_line(path: Path, number: int) -> bytes:
    from dispatcher.edx_log.source import Source  # noqa: PLC0415 - as above

    with Source(path) as source:
        for line in source.lines():
            if line.number == number:
                return line.content
    raise click.UsageError(f"--explain: {path} has no line {number}")
