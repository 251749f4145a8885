"""``dispatcher forget`` and ``dispatcher unsuppress``: take a person out of everything, and the way back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from dispatcher import config
from dispatcher.cli.input.logs import Location, find_pseudonyms, pseudonyms_option
from dispatcher.cli.output.export_summary import export_progress
from dispatcher.cli.output.forget_summary import print_receipt
from dispatcher.connections.redis_pool import RedisPool
from dispatcher.exports.pseudonyms import Pseudonyms
from dispatcher.forgetting import Person
from dispatcher.forgetting.forget import ForgetRefusedError, places_of
from dispatcher.forgetting.forget import forget as forget_person
from dispatcher.forgetting.requests import Requests
from dispatcher.monitoring.units import count_text
from dispatcher.suppression.suppression_list import suppression_list

if TYPE_CHECKING:
    from dispatcher.config import Settings
    from dispatcher.exports.bucket.bucket import Bucket
    from dispatcher.forgetting import Place
    from dispatcher.forgetting.receipt import Receipt

# Seconds for one answer of Redis.
_TIMEOUT_SECONDS: Final = 10.0


def person_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say who is meant."""
    for option in (
        click.option("--session", "sessions", multiple=True, metavar="KEY", help="A session's key."),
        click.option("--anonymous-id", "anonymous_ids", multiple=True, metavar="ID", help="Of a browser or device."),
        click.option(
            "--email", "emails", multiple=True, metavar="ADDRESS", help="Large and small letters are the same."
        ),
        click.option("--username", "usernames", multiple=True, metavar="NAME", help="Also the names used before."),
        click.option("--user", "user_ids", multiple=True, metavar="ID", help="The id of the account, such as 42."),
    ):
        command = option(command)
    return command


@click.command()
@person_options
@click.option(
    "--in",
    "directories",
    multiple=True,
    type=Location(click.Path(exists=True, file_okay=False, path_type=Path)),
    help="A directory, or a bucket's folder (s3://…, gs://…, az://…), of exports or of copies of logs, besides those "
    "of the settings. May be given several times.",
)
@click.option(
    "--requested", is_flag=True, help="Everybody whom edX's retirement pipeline has asked to forget, one by one."
)
@pseudonyms_option("Keep the events, and give the person other names by the key in this file; made if it is missing.")
@click.option("--do", is_flag=True, help="Take the person out. Without it, nothing is changed.")
@click.option(
    "--max-share",
    type=click.FloatRange(0, 1, min_open=True),
    help="The fraction of all events that may name one person; by default forgetting.max_share, 0.01.",
)
@click.option("--without-redis", is_flag=True, help="Leave out what waits in Redis, as when it is down.")
@click.option("--json", "as_json", is_flag=True, help="Print the receipt as JSON.")
def forget(
    directories: tuple[Path | Bucket, ...],
    requested: bool,
    key_file: Path | None,
    do: bool,
    max_share: float | None,
    without_redis: bool,
    as_json: bool,
    **identifiers: tuple[str, ...],
) -> None:
    """Look for a person everywhere on this host and in Redis; with --do, take the person out.

    Looked through are outboxes, what waits, dead letters, tracking logs with their rotated files, and exports. Found
    are all events that name the person by one of the identifiers: also other people's events that do. Give every
    identifier; each option may be given several times.

    With --pseudonyms the events stay in logs, exports and tables. The person's names in them become those that an
    export with the same key gives, and from the person's own events go addresses of machines and pages; lines that
    cannot be read go. What is on its way goes too, unless it is on its way to such a log; vendors are asked to delete.

    With --do the person is put on the list of those who are to be forgotten, so that nothing comes back by a replay, an
    export, or what other hosts still send. Only files that name the person are rewritten. A receipt without the
    identifiers is kept in the state directory. It may be run again at any time, and goes on after a kill.

    \b
    Examples:
      dispatcher forget --user 42 --username ada --username ada_old --email ada@example.org
      dispatcher forget --user 42 --username ada --in /srv/events --in s3://logs/tracking --do
      dispatcher forget --user 42 --username ada --pseudonyms /etc/research.key --do
      dispatcher forget --requested --do

    Exit code 0 if nothing is left or wrong, 1 if something could not be looked into or is left.
    """
    if requested and any(identifiers.values()):
        raise click.UsageError("--requested says who is meant: leave out the identifiers")
    person = None if requested else _person(identifiers)
    pseudonyms = _pseudonyms(key_file, do=do)
    settings = config.load()
    pool = None if without_redis else RedisPool(settings.store, timeout_seconds=_TIMEOUT_SECONDS)
    try:
        run = partial(
            _run, settings, _places(settings, pool, directories), do=do, max_share=max_share, pseudonyms=pseudonyms
        )
        show = _show_json if as_json else print_receipt
        if person is None:
            is_done = _forget_requested(Requests(settings), run, show)
        else:
            receipt = run(person)
            show(receipt)
            is_done = not receipt.problems
    finally:
        if pool is not None:
            pool.close()
    raise SystemExit(0 if is_done else 1)


def _places(settings: Settings, pool: RedisPool | None, given: Sequence[Path | Bucket]) -> list[Place]:
    directories = [one for one in given if isinstance(one, Path)]
    return places_of(settings, pool, directories, [one.url for one in given if not isinstance(one, Path)])


def _run(settings: Settings, places: Sequence[Place], person: Person, **options: Any) -> Receipt:
    with export_progress() as progress:
        task = progress.add_task("looking", total=None)
        return forget_person(
            settings,
            person,
            places,
            **options,
            watch=lambda what, done, total: progress.update(
                task, description=what, completed=done, total=total or None
            ),
        )


def _pseudonyms(key_file: Path | None, *, do: bool) -> Pseudonyms | None:
    """The pseudonyms of a key's file. A look does not make one, since it changes nothing."""
    if key_file is not None and not do and not key_file.exists():
        return Pseudonyms(b"")
    return find_pseudonyms(key_file)


def _show_json(receipt: Receipt) -> None:
    click.echo(receipt.to_json().decode().rstrip())


def _forget_requested(requests: Requests, run: Callable[[Person], Receipt], show: Callable[[Receipt], None]) -> bool:
    """Do what was asked for. Returns whether nothing is left; what one person's refusal holds up is that one."""
    waiting = list(requests.waiting())
    click.echo(f"{count_text(len(waiting), 'request')} to forget somebody", err=True)
    left = 0
    for request in waiting:
        try:
            receipt = run(Person(user_ids=(request.user_id,)))
        except ForgetRefusedError as error:
            click.echo(f"left: the request of {request.at}: {error}", err=True)
            left += 1
            continue
        show(receipt)
        left += bool(receipt.problems)
        if receipt.did and not receipt.problems:
            requests.finish(request, receipt.id)
    return not left


@click.command()
@person_options
def unsuppress(**identifiers: tuple[str, ...]) -> None:
    """Take a person off the list of those who are to be forgotten: new events of the person go on again.

    What was taken out stays gone. A relay and a worker know within a second or two.

    \b
    Example:
      dispatcher unsuppress --user 42 --username ada

    Exit code 0 if an identifier was on the list, 1 if none was.
    """
    person = _person(identifiers)
    count = suppression_list(config.load().state_directory).remove(person.identifiers)
    click.echo(f"{count_text(count, 'identifier')} taken off the list")
    raise SystemExit(0 if count else 1)


def _person(identifiers: dict[str, tuple[str, ...]]) -> Person:
    try:
        return Person(**identifiers)
    except ValueError as error:
        raise click.UsageError(f"{error}; see --help") from None
