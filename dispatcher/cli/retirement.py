"""``dispatcher retirement``: takes the requests of edX's retirement pipeline."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import click

from dispatcher import config
from dispatcher.connections.listener import listen
from dispatcher.connections.urls import http_url
from dispatcher.errors import SettingsError
from dispatcher.installation.extras import install_command
from dispatcher.secrecy.log_lines import log_to_stderr


@click.command()
@click.option("--host", help="Where to listen [retirement.host].")
@click.option("--port", type=click.IntRange(0, 65535), help="Where to listen; 0: any free port [retirement.port].")
def retirement(host: str | None, port: int | None) -> None:
    """Take requests to forget somebody from Open edX's retirement pipeline, until SIGTERM or Ctrl-C.

    It is a service of the LMS's EXTRA_SERVICES_TO_RETIRE_FROM, with retirement_url_path "retire/TOKEN", where TOKEN is
    DISPATCHER_RETIREMENT__TOKEN. A request that was answered is on the disk of this host. `dispatcher forget
    --requested --do` does what it asks for: have a timer run that.

    \b
    Examples:
      DISPATCHER_RETIREMENT__TOKEN=4fzH2Qw9c1xYk7mPb3Ls dispatcher retirement
      dispatcher retirement --host 0.0.0.0 --port 8092
    """
    if not all(find_spec(name) is not None for name in ("starlette", "uvicorn")):
        raise click.ClickException(f"the endpoint is not installed: {install_command('board')}")
    import uvicorn  # noqa: PLC0415 - the extra

    from dispatcher.retirement.app import make_app  # noqa: PLC0415 - the extra

    log_to_stderr()
    changed: dict[str, Any] = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    settings = config.load(overrides={"retirement": changed} if changed else None)
    table = settings.retirement
    if table.token is None:
        raise SettingsError(
            ["retirement.token: the endpoint would let anybody forget people: set DISPATCHER_RETIREMENT__TOKEN"]
        )
    given = uvicorn.Config(
        make_app(settings),
        log_config=None,
        # Its lines would have the token.
        access_log=False,
        lifespan="off",
        ws="none",
        proxy_headers=False,
        server_header=False,
        limit_concurrency=100,
        timeout_graceful_shutdown=5,
    )
    try:
        listener = listen(table.host, table.port)
    except OSError as error:
        raise click.ClickException(
            f"cannot listen on {table.host}:{table.port}: {error.strerror}; choose another --host or --port"
        ) from error
    address, bound = listener.getsockname()[:2]
    click.echo(http_url(address, bound))
    try:
        uvicorn.Server(given).run(sockets=[listener])
    finally:
        listener.close()
