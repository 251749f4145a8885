"""Dashboard: Flower for the app of the workers. Run as ``python -m dispatcher.tasks.flower``.

Flower's own options also come from ``FLOWER_`` variables, as Flower reads them, except for those that it cannot read.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import signal
import sys
import time
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

from celery.events import EventReceiver
from celery.events.state import Task
from flower.app import Flower
from flower.command import (
    ENV_VAR_PREFIX,
    apply_env_options,
    apply_options,
    extract_settings,
    is_flower_envvar,
    setup_logging,
)
from flower.events import Events
from flower.options import DEFAULT_CONFIG_FILE, options
from flower.urls import settings
from flower.utils import abs_path, strtobool
from flower.utils.broker import validate_broker_api
from tornado.ioloop import IOLoop
from tornado.options import parse_command_line

from dispatcher import config
from dispatcher.board.flower_links import BoardLinks
from dispatcher.config.variables import SERVICE_LINK
from dispatcher.installation.launch import NEVER_STARTS
from dispatcher.secrecy.log_lines import guard_handlers
from dispatcher.secrecy.safe_text import foreign_text
from dispatcher.tasks.celery import app

logger = logging.getLogger(__name__)

# Between two tries to reach the broker.
_PAUSE_SECONDS: Final = 2.0
# Kubernetes sets FLOWER_PORT=tcp://10.0.0.1:5555 in every pod beside a service named flower.
_SERVICE_LINK: Final = re.compile(ENV_VAR_PREFIX + SERVICE_LINK)
_LINKED: Final = re.compile(r"(tcp|udp|sctp)://", re.IGNORECASE)
# Those that name a file which Flower would end without, or serve without encryption.
_FILES: Final = ("conf", "certfile", "keyfile", "ca_certs")


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


def drop_unreadable(environ: MutableMapping[str, str]) -> list[str]:
    """Take out the ``FLOWER_`` variables with which Flower would end, and say which, without their values.

    Variables of a service that is named flower are taken out without a word.
    """
    dropped = []
    for name in sorted(filter(is_flower_envvar, environ)):
        value = environ[name]
        if _SERVICE_LINK.fullmatch(name) and _LINKED.match(value):
            del environ[name]
            continue
        key = name.removeprefix(ENV_VAR_PREFIX).lower()
        option: Any = options._options.get(key) or options._options[key.replace("_", "-")]
        read = strtobool if option.type is bool else option.type
        try:
            for part in value.split(",") if option.multiple else [value]:
                read(part)
            if key == "broker_api" and value:
                validate_broker_api(value)
        except Exception as error:  # a type of anybody's
            del environ[name]
            dropped.append(f"{name} is left out: Flower cannot read it ({type(error).__name__})")
    return dropped


def missing_file() -> str | None:
    """The first of the options that name a file which does not exist, in words; None if all of them do."""
    for name in _FILES:
        value = getattr(options, name)
        if value and value != DEFAULT_CONFIG_FILE and not os.path.isfile(abs_path(value)):
            return (
                f"{ENV_VAR_PREFIX}{name.upper()}: the file {abs_path(value)} does not exist; mend it, or take it away"
            )
    return None


def explain_start(error: Exception, environ: Mapping[str, str]) -> str:
    """One line on why Flower did not start.

    Args:
        error: What was raised while it was set up.
        environ: Whose ``FLOWER_`` variables are named, without their values.
    """
    if getattr(error, "errno", None) == errno.EADDRINUSE:
        return f"Flower cannot listen at {options.address}:{options.port}, which is in use: take another --port"
    names = ", ".join(sorted(set(filter(is_flower_envvar, environ)) - {"FLOWER_BASIC_AUTH"}))
    remedy = f"mend or take away one of these: {names}" if names else "see its options"
    return f"Flower does not start ({type(error).__name__}: {foreign_text(str(error))}); {remedy}"


def main() -> None:
    """Serve until SIGTERM or Ctrl-C. Exits with a message if the port is taken, or an option cannot be used."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    for line in drop_unreadable(os.environ):
        print(line, file=sys.stderr)
    apply_env_options()
    problem = missing_file()
    if problem is not None:
        print(problem, file=sys.stderr)
        sys.exit(NEVER_STARTS)
    if options.conf == DEFAULT_CONFIG_FILE:
        # One in the current directory is another Flower's. FLOWER_CONF names a file for this one.
        parse_command_line(["dispatcher flower", *sys.argv[1:]])
    else:
        apply_options("dispatcher flower", sys.argv[1:])
    if options.format_task is None:
        options.format_task = on_one_line
    try:
        extract_settings()
        setup_logging()
        guard_handlers(logging.getLogger())
        receiver = Receiver(
            app,
            IOLoop.current(),
            enable_events=options.enable_events,
            max_workers_in_memory=options.max_workers,
            max_tasks_in_memory=options.max_tasks,
        )
        board_url = config.load().board.url
        if board_url is not None:
            settings["template_loader"] = BoardLinks(settings["template_path"], board_url)
        flower = Flower(options=options, capp=app, events=receiver, **settings)
        flower.start_http_server()
    except Exception as error:  # whatever a value leads to in Flower, tornado or the metrics
        print(explain_start(error, os.environ), file=sys.stderr)
        sys.exit(1 if getattr(error, "errno", None) == errno.EADDRINUSE else NEVER_STARTS)
    try:
        flower.start()
    except (KeyboardInterrupt, SystemExit):
        flower.stop()


if __name__ == "__main__":
    main()
