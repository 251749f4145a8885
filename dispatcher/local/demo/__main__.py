"""``python -m dispatcher.local.demo``: start everything, send visitors to the shop, show where each event arrived."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dispatcher import config
from dispatcher.errors import DispatcherError
from dispatcher.local.demo import browser
from dispatcher.local.demo.recorded import Feed, feed
from dispatcher.local.demo.screen import Screen
from dispatcher.local.demo.stage import Stage, clear
from dispatcher.local.demo.tally import Check, Tally, read_lines
from dispatcher.local.demo.visits import VISITORS, DemoError, plan, visit_all
from dispatcher.routing import Router
from dispatcher.secrecy.terminal import Console

if TYPE_CHECKING:
    from dispatcher.local.demo.visits import Emitted

_SETTINGS = Path(__file__).with_name("settings.toml")
_DRAIN_SECONDS = 60


@click.command()
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".demo"),
    show_default=True,
    help="Where the demo keeps its files. Emptied first.",
)
@click.option(
    "--events",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="DEMO_EVENTS",
    show_envvar=True,
    help="A file of recorded events to emit too, as `dispatcher emit --from` takes them.",
)
@click.option(
    "--stay",
    is_flag=True,
    envvar="DEMO_STAY",
    show_envvar=True,
    help="Leave everything running until Ctrl-C, to look at the board and to send more.",
)
def demo(directory: Path, events: Path | None, stay: bool) -> None:
    """Show the whole way of some events. Exit code 0 if every one of them arrived where it should."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        # As an exception, so that the stage is cleared on the way out.
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    screen = Screen(Console(highlight=False))
    try:
        directory = directory.absolute()
        clear(directory)
        _choose_settings(directory)
        screen.title()
        sys.exit(_perform(screen, directory, events, stay=stay))
    except DispatcherError as error:
        screen.failure(str(error))
        sys.exit(1)
    except KeyboardInterrupt:
        screen.failure("interrupted; everything is stopped")
        sys.exit(130)


def _choose_settings(directory: Path) -> None:
    # All processes of the demo get their settings by these variables. Those of the person's own site are left out.
    for name in [name for name in os.environ if name.upper().startswith("DISPATCHER_")]:
        del os.environ[name]
    os.environ["DISPATCHER_SETTINGS"] = str(_SETTINGS)
    os.environ["DISPATCHER_STATE_DIRECTORY"] = str(directory)
    # Not the usual ports: another demo that starts at the same moment would choose them too.
    with socket.socket() as collector, socket.socket() as board:
        for name, probe in (("COLLECTOR", collector), ("BOARD", board)):
            probe.bind(("127.0.0.1", 0))
            os.environ[f"DISPATCHER_{name}__PORT"] = str(probe.getsockname()[1])


def _perform(screen: Screen, directory: Path, events: Path | None, *, stay: bool) -> int:
    router = Router(config.load())
    with Stage(directory) as stage:
        visits = _emit(screen, stage)
        recorded = Feed()
        if events is not None:
            with screen.step("dispatcher emit", f"--from {events}") as say:
                recorded = feed(stage, events)
                refused = f", {recorded.refused:,} lines refused" if recorded.refused else ""
                say(f"--from {events.name}: {recorded.taken:,} events{refused}")
            screen.line_errors(recorded)
        tally = _drain(screen, stage, [event for visit in visits for event in visit], recorded, router)
        if stay:
            _show(screen, directory, tally, {event.id for event in visits[0]})
            screen.stays(stage.board)
            _wait_for_interrupt()
        with screen.step("Stopping", "everything"):
            stage.stop()
    if not stay:
        _show(screen, directory, tally, {event.id for event in visits[0]})
    checks = [*tally.checks(), Check(True, f"everything is stopped; the files stay in {directory.name}/")]
    screen.checks(checks)
    if not all(check.holds for check in checks):
        screen.failure(f"it does not add up; {directory} holds what every part said")
        return 1
    screen.next_steps()
    return 0


def _wait_for_interrupt() -> None:
    """Block until Ctrl-C."""
    # Waiting for a signal that Python turns into an exception; nothing else ends it.
    with suppress(KeyboardInterrupt):
        while True:
            signal.pause()


def _emit(screen: Screen, stage: Stage) -> list[list[Emitted]]:
    with screen.step("dispatcher up", "Redis, relay, worker, collector, a Segment stub"):
        collector = stage.start_dispatcher()
    if stage.board:
        screen.board(stage.board)
    with screen.step("A web shop", "under gunicorn") as say:
        port = stage.start_shop(collector)
        say(f"two gunicorn processes, http://127.0.0.1:{port}")
    requests = sum(len(plan(number)) for number in range(VISITORS))
    with screen.progress(f"{VISITORS} visitors", requests) as advance:
        visits = visit_all(port, advance)
    with screen.step("A browser", "Chromium opens the shop's page, and clicks") as say:
        missing = browser.missing_parts() if collector else ["the extra collector"]
        if missing:
            say(f"left out: {' and '.join(missing)} not installed")
            return visits
        clicked = browser.click_once(f"http://127.0.0.1:{port}/page", stage.directory / "chromium")
        say("Chromium clicked, and tracker.js sent it")
    return [*visits, [clicked]]


def _drain(screen: Screen, stage: Stage, shop: list[Emitted], recorded: Feed, router: Router) -> Tally:
    with screen.step("dispatcher drain", "until nothing waits") as say:
        drained = stage.run("drain", "--timeout", str(_DRAIN_SECONDS))
        say("outboxes and queues are empty")
    if drained.returncode != 0:
        raise DemoError(f"`dispatcher drain` gave up: {drained.stderr.strip()}")
    status = stage.run("status", "--json")
    if status.returncode != 0:
        raise DemoError(f"`dispatcher status` failed: {status.stderr.strip()}")
    lines, messages = (read_lines(stage.directory / name) for name in ("tracking.log", "segment-stub.jsonl"))
    return Tally(shop, recorded, lines, messages, json.loads(status.stdout), router)


def _show(screen: Screen, directory: Path, tally: Tally, visit: set[str]) -> None:
    lines = sorted(
        (line for line in tally.lines if line["context"].get("event_id") in visit), key=lambda line: str(line["time"])
    )
    messages = [message for message in tally.messages if message["messageId"] in visit]
    screen.lines(directory / "tracking.log", len(tally.lines), lines)
    screen.messages(directory / "segment-stub.jsonl", len(tally.messages), messages)
    screen.landings(tally.landings())
    screen.ledger(tally.ledger)


if __name__ == "__main__":
    demo()
