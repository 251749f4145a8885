"""``dispatcher deprecations``: who still calls Logger.log, and how to end it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urljoin

import click

from dispatcher import config
from dispatcher.cli.deprecations_codemod import codemod
from dispatcher.cli.output.deprecations import NOTHING_COUNTED, print_report
from dispatcher.collector.deprecations.letter import write_letter
from dispatcher.collector.deprecations.report import Report, make_report
from dispatcher.connections.redis_pool import RedisPool
from dispatcher.store.batches import BatchStore
from dispatcher.store.deprecated_calls import WEEKS

# Seconds for one answer of Redis.
_TIMEOUT_SECONDS: Final = 5.0
_WEEKS = click.option(
    "--weeks", type=click.IntRange(1, WEEKS), default=4, show_default=True, help="Look back so far; this week counts."
)


@click.group()
def deprecations() -> None:
    """See who still calls Logger.log, write to them, and rewrite the calls.

    Pages report each call from the step warn+report on [collector.logger_stage]. Relays count them in Redis, where the
    counts stay for half a year.

    \b
    Examples:
      dispatcher deprecations report
      dispatcher deprecations letter --course course-v1:org+course+run
      dispatcher deprecations codemod lms/static
    """


deprecations.add_command(codemod)


@deprecations.command()
@_WEEKS
@click.option("--course", metavar="ID", help='Only this course; "" for pages outside of courses.')
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Rows to print at most.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object, with all rows and the count of each week."
)
def report(weeks: int, course: str | None, limit: int, as_json: bool) -> None:
    """Show which scripts call what is deprecated: with which events, in which courses, how often, and when last.

    \b
    Examples:
      dispatcher deprecations report
      dispatcher deprecations report --weeks 1 --course course-v1:org+course+run
      dispatcher deprecations report --json | jq -r '.callers[].script' | sort -u

    Exit code 0 whether or not there are any: `--json | jq -e '.calls == 0'` is a test.
    """
    found = _read(weeks, course)
    if as_json:
        callers = [caller.to_json() for caller in found.callers]
        click.echo(json.dumps({"weeks": weeks, "calls": found.count, "left_out": found.left_out, "callers": callers}))
    else:
        print_report(found, weeks=weeks, limit=limit)


@deprecations.command()
@click.option("--course", metavar="ID", required=True, help="The key of the course.")
@_WEEKS
@click.option("--until", default="", metavar="WORDS", help='When it is removed, such as "with the release Willow".')
@click.option("--sender", default="the operators of this site", show_default=True, help="Who signs.")
@click.option("--base", default="", help="The collector's address, where [collector.logger_help] is but a path.")
def letter(course: str, weeks: int, until: str, sender: str, base: str) -> None:
    """Write the letter to the team of a course: what its pages call, how often, and what to do. Sends nothing.

    \b
    Examples:
      dispatcher deprecations letter --course course-v1:org+course+run --until "on 2027-06-30"
      dispatcher deprecations letter --course course-v1:org+course+run --sender "Ada, Example University" > letter.txt

    Exit code 1 where no call of the course was counted, so that there is nothing to write.
    """
    found = _read(weeks, course)
    if not found.callers:
        click.echo(f"in {course} {NOTHING_COUNTED} in the last {weeks} weeks: there is nothing to write", err=True)
        raise SystemExit(1)
    help_url = config.load().collector.logger_help
    if "://" not in help_url:
        help_url = urljoin(f"{base.rstrip('/')}/", help_url) if base else ""
    click.echo(
        write_letter(course, found.callers, weeks=weeks, until=until, sender=sender, help_url=help_url), nl=False
    )


def _read(weeks: int, course: str | None) -> Report:
    pool = RedisPool(config.load().store, timeout_seconds=_TIMEOUT_SECONDS)
    return make_report(BatchStore(pool).deprecated_calls.read(weeks, datetime.now(UTC).date()), course)
