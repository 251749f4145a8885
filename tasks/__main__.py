"""``python -m dispatcher.tasks worker``: Celery's worker with our app, which ``dispatcher worker`` keeps running.

Celery's own ``-A`` would look for the app, and for all that the app imports, in the current directory first.
"""

from __future__ import annotations

import os
import sys

import click
from celery.bin.base import CLIContext
from celery.bin.worker import worker

from dispatcher.errors import SettingsError
from dispatcher.installation.launch import NEVER_STARTS


def main() -> None:
    """Run a command of Celery's. Settings that cannot be used end it with code 2 and a line for each mistake."""
    try:
        from dispatcher.tasks.celery import app  # noqa: PLC0415 - it reads the settings
    except SettingsError as error:
        print(*(f"settings: {problem}" for problem in error.problems), sep="\n", file=sys.stderr)
        sys.exit(NEVER_STARTS)
    context = CLIContext(app, no_color=bool(os.environ.get("NO_COLOR")), workdir=None)
    click.Group(commands={"worker": worker}).main(obj=context)


if __name__ == "__main__":
    main()
