"""Main: the command group. It turns errors into a line on stderr and an exit code."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from dispatcher.cli.commands import COMMANDS, Commands
from dispatcher.cli.output.remedy import redis_remedy, settings_note
from dispatcher.cli.output.usage import without_value
from dispatcher.config.environment_file import with_environment_file
from dispatcher.errors import DispatcherError, SettingsError, StoreUnavailableError
from dispatcher.installation.versions import versions_text
from dispatcher.secrecy.safe_text import one_line
from dispatcher.secrecy.terminal import guarded
from dispatcher.version import __version__

#: 0 is success, 1 a negative answer such as "not drained", and 2 is what click uses for wrong usage.
EXIT_SETTINGS = 3
EXIT_UNAVAILABLE = 4
EXIT_ERROR = 5


class _Group(click.Group):
    def main(self, *args: Any, **options: Any) -> Any:
        # Around click's own messages too, which repeat what was typed.
        with guarded():
            return super().main(*args, **options)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            error.message = without_value(error.message)  # type: ignore[misc]  # click calls it final
            raise
        except SettingsError as error:
            for problem in error.problems:
                click.echo(f"settings: {problem}", err=True)
            code = EXIT_SETTINGS
        except StoreUnavailableError as error:
            click.echo(f"Error: {error}. {redis_remedy()}", err=True)
            code = EXIT_UNAVAILABLE
        except DispatcherError as error:
            click.echo(f"Error: {error}", err=True)
            code = EXIT_ERROR
        except (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError) as error:
            # Of a file that was given, or that the settings name. One without a name is a mistake of ours.
            if not isinstance(error.filename, str | os.PathLike):
                raise
            click.echo(f"Error: {one_line(os.fspath(error.filename), 300)}: {error.strerror}", err=True)
            code = EXIT_ERROR
        # In a shell without the deployment's environment, this is what is wrong.
        click.echo(settings_note(), err=True)
        sys.exit(code)


def _show_versions(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked:
        click.echo(versions_text(__version__))
        ctx.exit()


@click.group(
    cls=_Group,
    commands=Commands(dict(COMMANDS)),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_versions,
    help="Show which releases run here, also of what dispatcher stands on.",
)
def main() -> None:
    """Events from web apps to the tracking log, Segment and other destinations. None is lost on the way.

    \b
    Start here:
      dispatcher up                          everything on one machine, until Ctrl-C
      dispatcher emit shop.order.paid        one event, from another terminal
      dispatcher status --watch              where the events are

    The variables of /etc/dispatcher/environment, or of the file that DISPATCHER_ENVIRONMENT_FILE names, count as set
    where the environment does not set them itself.

    Exit codes: 0 success, 1 a negative answer, 2 wrong usage, 3 wrong settings, 4 Redis does not
    answer, 5 other errors.
    """
    # Into the environment, so that what a command starts has them too, and Flower its own.
    os.environ.update(with_environment_file(os.environ))
