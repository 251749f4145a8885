"""Logs on the command line: files, directories with nothing but logs in them, and buckets."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from dispatcher import config
from dispatcher.exports.pseudonyms import Pseudonyms, read_key
from dispatcher.installation.extras import install_command

if TYPE_CHECKING:
    from dispatcher.exports.bucket.bucket import Bucket
    from dispatcher.exports.bucket.log_object import LogObject
    from dispatcher.exports.target import Target

Command = TypeVar("Command", bound=Callable[..., Any])

_SCHEMES: Final = ("s3://", "s3a://", "gs://", "az://", "abfs://", "abfss://")
_DIGEST_CHARACTERS: Final = 16


class Location(click.ParamType[Any]):
    """A path, or the address of a bucket.

    Args:
        path: What a path has to be.
    """

    name = "path"

    def __init__(self, path: click.Path) -> None:
        self._path = path

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A ``Bucket`` for an address, a path else. See ``click.ParamType``."""
        if not isinstance(value, str) or not value.startswith(_SCHEMES):
            return self._path.convert(value, param, ctx)
        if find_spec("obstore") is None:
            raise click.ClickException(f"buckets need a client: {install_command('buckets')}")
        from dispatcher.exports.bucket.bucket import Bucket  # noqa: PLC0415 - the extra

        return Bucket(url=value.rstrip("/"))


def logs_option(*, required: bool = True) -> Callable[[Command], Command]:
    """``--from`` of the exports."""
    return click.option(
        "--from",
        "logs",
        multiple=True,
        required=required,
        type=Location(click.Path(exists=True, readable=True, path_type=Path)),
        help="A tracking log, or a directory or a bucket's folder (s3://…, gs://…, az://…) with nothing but such logs. "
        "May be given several times.",
    )


def directory_option(*, required: bool = True) -> Callable[[Command], Command]:
    """``--to`` of the exports."""
    return click.option(
        "--to",
        "directory",
        required=required,
        type=click.Path(file_okay=False, path_type=Path),
        help="A directory for the files. It is made if it is missing.",
    )


def target_option() -> Callable[[Command], Command]:
    """``--to`` of the exports that can write to buckets."""
    return click.option(
        "--to",
        "place",
        required=True,
        type=Location(click.Path(file_okay=False, path_type=Path)),
        help="A directory for the files, which is made if it is missing; or a bucket's folder, such as s3://lake/events.",
    )


def find_target(place: Path | Bucket) -> Target:
    """Where files go that an export writes."""
    from dispatcher.exports.target import DirectoryTarget  # noqa: PLC0415 - only exports need it

    if isinstance(place, Path):
        return DirectoryTarget(place)
    from dispatcher.exports.bucket.target import BucketTarget  # noqa: PLC0415 - the extra

    return BucketTarget(place, export_state(place.url))


def export_state(address: str) -> Path:
    """The directory for what an export to an address has under way on this machine."""
    digest = hashlib.sha256(address.encode()).hexdigest()[:_DIGEST_CHARACTERS]
    return config.load().state_directory / "exports" / digest


def find_logs(places: tuple[Path | Bucket, ...]) -> list[Path | LogObject]:
    """The logs that were named, and those in directories and buckets that were named, each once, sorted by name.

    Raises:
        click.UsageError: A directory is empty.
        DispatcherError: A bucket has no logs there, or does not answer.
    """
    found: dict[Path | LogObject, None] = {}
    for place in places:
        if not isinstance(place, Path):
            from dispatcher.exports.bucket.log_object import find_objects  # noqa: PLC0415 - the extra

            found |= dict.fromkeys(find_objects(place))
        elif place.is_dir():
            inside = sorted(one for one in place.rglob("*") if one.is_file() and not one.name.startswith("."))
            if not inside:
                raise click.UsageError(f"--from: the directory {place} has no files")
            found |= dict.fromkeys(inside)
        else:
            found[place] = None
    return list(found)


def pseudonyms_option(
    text: str = "Give people other names, made with the key in this file, which is made if it is missing.",
) -> Callable[[Command], Command]:
    """``--pseudonyms`` of the exports of rows, and of forgetting."""
    return click.option(
        "--pseudonyms",
        "key_file",
        type=click.Path(dir_okay=False, path_type=Path),
        help=text,
    )


def find_pseudonyms(key_file: Path | None) -> Pseudonyms | None:
    """The pseudonyms of a key's file. Raises DispatcherError where it holds something else."""
    return None if key_file is None else Pseudonyms(read_key(key_file))
