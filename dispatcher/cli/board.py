"""``dispatcher board``: the ledger as a page."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Final

import click

from dispatcher import config
from dispatcher.board.login import LOCAL_USER, find_login
from dispatcher.connections.listener import listen
from dispatcher.connections.redis_pool import RedisPool
from dispatcher.connections.urls import http_url
from dispatcher.errors import DispatcherError
from dispatcher.installation import launch
from dispatcher.installation.extras import install_command
from dispatcher.monitoring.snapshot import Observer
from dispatcher.secrecy.log_lines import log_to_stderr

# For each of the five round trips of a reading.
_TIMEOUT_SECONDS: Final = 2.0
# Seconds between two looks at what is not a destination: outboxes, and the memory of Redis.
_WHOLE_SECONDS: Final = 1.5


def is_installed() -> bool:
    """Whether the extra ``board`` is installed."""
    return all(find_spec(name) is not None for name in ("starlette", "uvicorn"))


def board_arguments(*, port: int) -> list[str]:
    """The command line of a board on this machine."""
    return launch.command("dispatcher", "board", "--port", str(port))


@click.command()
@click.option("--host", help="Where to listen [board.host].")
@click.option("--port", type=click.IntRange(0, 65535), help="Where to listen; 0: any free port [board.port].")
@click.option(
    "--allow-control",
    is_flag=True,
    default=None,
    help="Let the buttons retry, pause, resume, replay and drop [board.allow_control].",
)
@click.option("--debug", is_flag=True, default=None, help="Show live events outside of development too [debug].")
def board(host: str | None, port: int | None, allow_control: bool | None, debug: bool | None) -> None:
    """Show the ledger as a page, live, until SIGTERM or Ctrl-C.

    It shows each destination with its sum, what waits and since when, the breaker and the next try, the last error,
    the last hour, workers, dead letters and the outboxes of this machine. It only shows, unless --allow-control is
    given.

    In development, or with --debug, its page /live shows events as they pass, with what they say of people; relays and
    workers elsewhere than in development show them only with DISPATCHER_DEBUG=true.

    Everybody needs a login: set DISPATCHER_BOARD__BASIC_AUTH=user:password. Where only this machine reaches the board,
    it makes one if none is set, keeps it in <state_directory>/board-password, and prints it.

    \b
    Examples:
      dispatcher board
      DISPATCHER_BOARD__BASIC_AUTH=ops:secret dispatcher board --host 0.0.0.0 --allow-control
    """
    if not is_installed():
        raise click.ClickException(f"the board is not installed: {install_command('board')}")
    from dispatcher.board import server  # noqa: PLC0415 - it needs the extra

    log_to_stderr()
    given = {"host": host, "port": port, "allow_control": allow_control}
    changed: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    overrides = {**({"board": changed} if changed else {}), **({} if debug is None else {"debug": debug})}
    settings = config.load(overrides=overrides or None)
    table = settings.board
    try:
        login, made = find_login(settings)
    except OSError as error:
        raise DispatcherError(
            f"the board's password cannot be kept in {settings.state_directory}: {error.strerror}; set "
            "DISPATCHER_BOARD__BASIC_AUTH=user:password"
        ) from error
    try:
        listener = listen(table.host, table.port)
    except OSError as error:
        raise click.ClickException(
            f"cannot listen on {table.host}:{table.port}: {error.strerror}; choose another --host or --port"
        ) from error
    address, bound = listener.getsockname()[:2]
    note = f" (user {LOCAL_USER}, password {made})" if made else ""
    click.echo(f"{http_url(address, bound)}{note}")
    observer = Observer(
        settings, RedisPool(settings.store, timeout_seconds=_TIMEOUT_SECONDS), whole_seconds=_WHOLE_SECONDS
    )
    pool = RedisPool(settings.store, timeout_seconds=_TIMEOUT_SECONDS)
    server.serve(observer, pool, listener, login=login, allow_control=table.allow_control)
