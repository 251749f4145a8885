"""``dispatcher settings from-django``: what a site of Open edX has in its Django settings, as a file of ours."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from dispatcher.contrib.openedx.translation import translate
from dispatcher.secrecy.foreign_error import describe_error
from dispatcher.secrecy.safe_text import one_line

# One of these is in the settings of every site that has something to carry over.
_READ: Final = ("EVENT_TRACKING_", "TRACKING_", "LMS_SEGMENT_KEY")


@click.command("from-django")
@click.argument("module")
@click.option("--output", type=click.Path(dir_okay=False, writable=True), help="Write the file there.")
def from_django(module: str, output: str | None) -> None:
    """Turn the tracking settings of an Open edX site into a settings file.

    MODULE is what DJANGO_SETTINGS_MODULE names, and is imported: run this where the site runs, with its environment.
    Read are EVENT_TRACKING_*, TRACKING_* and LMS_SEGMENT_KEY. Secrets are not printed: the file says which variables to
    set. What could not be carried over stands on standard error, each with what to do.

    \b
    dispatcher settings from-django lms.envs.production > site.toml
    dispatcher settings from-django lms.envs.production --output site.toml
    """
    found = translate(_read(module))
    text = found.to_toml()
    if output is None:
        click.echo(text, nl=False)
    else:
        path = Path(output).absolute()
        try:
            with click.open_file(str(path), "w", encoding="utf-8", atomic=True) as file:
                file.write(text)
        except OSError as error:
            raise click.ClickException(f"{path} cannot be written: {error.strerror}") from error
        # Absolute: the variable takes no other.
        click.echo(f"written: {path}; next: DISPATCHER_SETTINGS={path} dispatcher settings check", err=True)
    for note in found.notes:
        click.echo(f"- {note}", err=True)


def _read(module: str) -> Mapping[str, Any]:
    if module.endswith(".py") or "/" in module:
        raise click.ClickException("give a module, as DJANGO_SETTINGS_MODULE does: lms.envs.production, not its file")
    # As manage.py does it: the project lies where one stands.
    sys.path.insert(0, os.getcwd())
    try:
        found = importlib.import_module(module)
    except Exception as error:  # whatever the settings do as they are imported
        what = f"{type(error).__name__}: {error}" if isinstance(error, ImportError) else describe_error(error)
        remedy = "run this in the directory of manage.py, with the environment and the packages of the site"
        raise click.ClickException(f"{one_line(module, 200)} cannot be imported ({what}): {remedy}") from error
    finally:
        sys.path.remove(os.getcwd())
    values = {name: value for name, value in vars(found).items() if name.isupper()}
    if not any(name.startswith(_READ) for name in values):
        what = f"{one_line(module, 200)} has no setting of event-tracking ({', '.join(_READ)})"
        raise click.ClickException(f"{what}: give the module that DJANGO_SETTINGS_MODULE names")
    return values
