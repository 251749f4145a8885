"""``dispatcher relay``: a relay in a process of its own."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import click

from dispatcher import config
from dispatcher.errors import OutboxError, StoreUnavailableError
from dispatcher.monitoring.sentry.start import start_sentry
from dispatcher.monitoring.units import count_text
from dispatcher.relay.loop import RelayLoop
from dispatcher.relay.relay import Relay
from dispatcher.relay.relayed_outbox import PutRefusedError
from dispatcher.secrecy.log_lines import log_to_stderr


@click.command()
@click.option("--once", is_flag=True, help="Relay what is there and exit: 0 when all of it was put, 1 when not.")
@click.option(
    "--timeout", type=click.FloatRange(0), default=60.0, show_default=True, help="Seconds to try for, with --once."
)
def relay(once: bool, timeout: float) -> None:
    """Move events from the outboxes of this machine to the batch store, those of dead processes too.

    Run it as the web app's user. With --once, the exit code is 5 if this user may not read or write the directory.

    Emitting processes do this themselves in a thread, unless relay.mode is "external". Beside them this command adopts
    what killed processes left behind.

    \b
    Examples:
      dispatcher relay              until SIGTERM or Ctrl-C
      dispatcher relay --once       what is there now, then exit
    """
    log_to_stderr()
    settings = config.load()
    start_sentry(settings, role="relay")
    process = Relay(settings)
    try:
        if once:
            raise SystemExit(0 if _drain(process, timeout, settings.outbox_directory) else 1)
        click.echo(f"relaying {settings.outbox_directory} to {config.mask_url(settings.store)}", err=True)
        loop = RelayLoop(process, settings, has_process=True)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: loop.stop())
        loop.run()
    finally:
        process.close()


def _drain(process: Relay, timeout: float, root: Path) -> bool:
    deadline = time.monotonic() + timeout
    total = 0
    while True:
        try:
            moved = process.step()
            total += moved
            if moved == 0 and process.is_drained():
                click.echo(f"put into the batch store: {count_text(total, 'delivery', 'deliveries')}", err=True)
                return True
        except (StoreUnavailableError, PutRefusedError) as error:
            if time.monotonic() >= deadline:
                click.echo(f"Error: {error}", err=True)
                return False
            moved = 0
        except OutboxError as error:
            click.echo(f"Error: {error}", err=True)
            return False
        except OSError as error:
            place = error.filename or root
            raise OutboxError(
                f"the outboxes in {root} cannot be relayed: {place}: {error.strerror or type(error).__name__}; run "
                "this as the web app's user, and make room if the disk is full"
            ) from error
        if time.monotonic() >= deadline:
            return False
        if moved == 0:
            time.sleep(0.05)
