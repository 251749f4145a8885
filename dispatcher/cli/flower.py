"""``dispatcher flower``: the dashboard of workers, tasks and retries."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

import click

# Celery's task states in Flower cost some 7 KB each; the default of 100,000 would be 0.7 GB.
_MAX_TASKS = 20_000
# Flower's own default leaves out retries, exception and eta, which are what this dashboard is for.
_COLUMNS = "name,uuid,state,args,received,started,runtime,worker,retries,exception,eta"


def flower_arguments(*, address: str, port: int) -> list[str]:
    """The command line of Flower. Its login comes from FLOWER_BASIC_AUTH: arguments can be read by every user."""
    return [
        sys.executable,
        *("-m", "celery", "-A", "tasks", "flower"),
        f"--address={address}",
        f"--port={port}",
        f"--max_tasks={_MAX_TASKS}",
        f"--tasks_columns={_COLUMNS}",
        "--inspect_timeout=3000",
        "--logging=warning",
    ]


def is_installed() -> bool:
    """Whether the extra ``flower`` is."""
    return find_spec("flower") is not None


@click.command()
@click.option("--address", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", type=click.IntRange(1, 65535), default=5555, show_default=True, help="Where to listen.")
@click.option(
    "--basic-auth",
    envvar="FLOWER_BASIC_AUTH",
    required=True,
    show_envvar=True,
    help="user:password; more than one separated by commas. Required: the pages show who is down and why.",
)
def flower(address: str, port: int, basic_auth: str) -> None:
    """Run Flower, the dashboard of workers, tasks and retries, until SIGTERM or Ctrl-C.

    \b
    Example:
      FLOWER_BASIC_AUTH=ops:secret dispatcher flower --port 5555
    """
    if not is_installed():
        raise click.ClickException("Flower is not installed: pip install 'dispatcher[flower]'")
    if any(":" not in login for login in basic_auth.split(",")):
        raise click.BadParameter("it must be user:password", param_hint="--basic-auth")
    os.environ["FLOWER_BASIC_AUTH"] = basic_auth
    arguments = flower_arguments(address=address, port=port)
    os.execv(sys.executable, arguments)  # noqa: S606 - the process becomes Flower, so that signals reach it
