"""``dispatcher flower``: the dashboard of workers, tasks and retries."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import Final

import click

from dispatcher import config
from dispatcher.destinations.options import check_options
from dispatcher.errors import SettingsError
from dispatcher.installation import launch
from dispatcher.installation.extras import install_command

# Flower keeps some 7 KB of each task; its own limit of 100,000 would be 0.7 GB.
_MAX_TASKS: Final = 20_000
# In Flower's memory; beyond, the one that was first seen is forgotten.
_MAX_WORKERS: Final = 1_000
# Seconds after which a worker that is gone leaves the page and the metrics. Without a limit, each container that ever
# ran would keep its own series in /metrics.
_PURGE_SECONDS: Final = 3_600
# Milliseconds for workers to answer questions, which busy ones need.
_INSPECT_MILLISECONDS: Final = 3_000
# Flower's own default leaves out args, result, retries, exception and eta, which are what this dashboard is for.
# Those of first interest come first, so that they are on a screen of 1,440 pixels. The name is not among them: a task's
# UUID begins with its destination.
_COLUMNS: Final = "uuid,state,result,retries,eta,exception,args,received,runtime,worker"


def flower_arguments(*, address: str, port: int, max_tasks: int = _MAX_TASKS, allow_control: bool = False) -> list[str]:
    """The command line of Flower. Its login comes from FLOWER_BASIC_AUTH: arguments can be read by every user."""
    return launch.command(
        "dispatcher.tasks.flower",
        f"--address={address}",
        f"--port={port}",
        f"--max_tasks={max_tasks}",
        f"--max_workers={_MAX_WORKERS}",
        f"--purge_offline_workers={_PURGE_SECONDS}",
        f"--tasks_columns={_COLUMNS}",
        f"--inspect_timeout={_INSPECT_MILLISECONDS}",
        f"--read_only={not allow_control}",
        # What it shows is rung for again or in the ledger; written to disk it would be one more copy to look after.
        "--persistent=False",
        "--logging=warning",
    )


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
@click.option(
    "--max-tasks",
    type=click.IntRange(1),
    default=_MAX_TASKS,
    show_default=True,
    help="How many tasks to remember, at some 7 KB each. A task is a delivery.",
)
@click.option(
    "--allow-control",
    is_flag=True,
    help="Let the pages and the API stop workers, change pools and revoke tasks. What is revoked is not dropped, "
    "only late: its batch waits until the workers are restarted, or for three hours.",
)
def flower(address: str, port: int, basic_auth: str, max_tasks: int, allow_control: bool) -> None:
    """Run Flower, the dashboard of workers, tasks and retries, until SIGTERM or Ctrl-C.

    It only shows, unless --allow-control is given. The pages and the API ask for the login; /metrics, for Prometheus,
    and /healthcheck do not: they name workers, destinations and numbers. Further options of Flower may be set as
    variables, such as FLOWER_URL_PREFIX behind a proxy, or FLOWER_CERTFILE and FLOWER_KEYFILE for TLS.

    \b
    Example:
      FLOWER_BASIC_AUTH=ops:secret dispatcher flower --port 5555
    """
    if not is_installed():
        raise click.ClickException(f"Flower is not installed: {install_command('flower')}")
    if not all(_is_login(login) for login in basic_auth.split(",")):
        raise click.BadParameter(
            "it must be user:password, neither of them empty; a comma separates two logins",
            param_hint="--basic-auth",
        )
    # Flower's process reads the settings again. Here a mistake in them is said as every command says it.
    loaded = config.read()
    problems = check_options(loaded.settings, loaded.source)
    if problems:
        raise SettingsError(problems)
    os.environ["FLOWER_BASIC_AUTH"] = basic_auth
    arguments = flower_arguments(address=address, port=port, max_tasks=max_tasks, allow_control=allow_control)
    os.execv(sys.executable, arguments)  # noqa: S606 - the process becomes Flower, so that signals reach it


def _is_login(login: str) -> bool:
    user, _, password = login.partition(":")
    return bool(user and password)
