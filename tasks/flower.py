"""Dashboard: Flower for the app of the workers. Run as ``python -m dispatcher.tasks.flower``.

Flower's own options also come from ``FLOWER_`` variables, as Flower reads them.
"""

from __future__ import annotations

import logging
import signal
import sys
import time
from typing import Final

from celery.events import EventReceiver
from celery.events.state import Task
from flower.app import Flower
from flower.command import apply_env_options, apply_options, extract_settings, setup_logging
from flower.events import Events
from flower.options import DEFAULT_CONFIG_FILE, options
from flower.urls import settings
from tornado.ioloop import IOLoop
from tornado.options import parse_command_line

from dispatcher.secrecy.safe_text import foreign_text
from dispatcher.tasks.celery import app

logger = logging.getLogger(__name__)

# Between two tries to reach the broker.
_PAUSE_SECONDS: Final = 2.0


class Receiver(Events):
    """Receives the workers' events, and does so again within seconds of the broker's return.

    Flower's own doubles its pause after each failure without a limit: it would receive nothing for as long again as the
    broker was away.
    """

    def run(self) -> None:
        failing = False
        while True:
            try:
                with self.capp.connection() as connection:
                    receiver = EventReceiver(connection, handlers={"*": self.on_event}, app=self.capp)
                    if failing:
                        logger.warning("the broker answers again; events of the meantime are not shown")
                    failing = False
                    receiver.capture(limit=None, timeout=None, wakeup=True)
            except Exception as error:  # it must not end before the process does
                if not failing:
                    logger.warning("nothing new is shown until this is mended: %s", foreign_text(str(error)))
                failing = True
            time.sleep(_PAUSE_SECONDS)


def on_one_line(task: Task) -> Task:
    """A task for a page, on which its due time would be broken at each hyphen."""
    if task.eta:
        task.eta = str(task.eta).replace("-", "\N{NON-BREAKING HYPHEN}").replace(" ", "\N{NO-BREAK SPACE}")
    return task


def main() -> None:
    """Serve until SIGTERM or Ctrl-C. Raises OSError if the port is taken."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    apply_env_options()
    if options.conf == DEFAULT_CONFIG_FILE:
        # One in the current directory is another Flower's. FLOWER_CONF names a file for this one.
        parse_command_line(["dispatcher flower", *sys.argv[1:]])
    else:
        apply_options("dispatcher flower", sys.argv[1:])
    if options.format_task is None:
        options.format_task = on_one_line
    extract_settings()
    setup_logging()
    receiver = Receiver(
        app,
        IOLoop.current(),
        enable_events=options.enable_events,
        max_workers_in_memory=options.max_workers,
        max_tasks_in_memory=options.max_tasks,
    )
    flower = Flower(options=options, capp=app, events=receiver, **settings)
    flower.start_http_server()
    try:
        flower.start()
    except (KeyboardInterrupt, SystemExit):
        flower.stop()


if __name__ == "__main__":
    main()
