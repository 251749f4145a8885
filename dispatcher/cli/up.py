"""``dispatcher up``: everything on one machine."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import threading
import time

import click
from rich.markup import escape

from dispatcher import config
from dispatcher.board.login import LOCAL_USER, find_login, kept_password
from dispatcher.cli import board as board_command
from dispatcher.cli import collector as collector_command
from dispatcher.cli import exporter
from dispatcher.cli.flower import flower_arguments, is_installed
from dispatcher.cli.output.ledger_line import ledger_line
from dispatcher.cli.worker import refuse_cluster, worker_arguments
from dispatcher.config.collector_secret import make_secret
from dispatcher.config.variables import option_variable
from dispatcher.connections.embedded import socket_path
from dispatcher.connections.redis_pool import RedisPool
from dispatcher.connections.urls import http_url, reached_at
from dispatcher.destinations.options import check_options
from dispatcher.doctor.checks.outbox import are_dead_relayed
from dispatcher.errors import DispatcherError, OutboxError, SettingsError, StoreUnavailableError
from dispatcher.installation import launch
from dispatcher.installation.extras import install_command
from dispatcher.local.port import KeptPort
from dispatcher.local.redis_server import find_server, server_command
from dispatcher.local.segment_stub import SegmentStub
from dispatcher.local.shop import SHOP_HOST, check_shop, shop_collector
from dispatcher.local.supervisor import Child, Supervisor
from dispatcher.monitoring.ledger import take_ledger
from dispatcher.monitoring.sentry.errors import report_ended_process
from dispatcher.monitoring.sentry.start import start_sentry
from dispatcher.secrecy.terminal import Console
from dispatcher.store.batches import BatchStore

# Seconds that Redis has to load its data.
_REDIS_SECONDS = 60.0
# How a line begins to speak of an error, in the logs of all parts and of Python.
_ERROR = re.compile(r"ERROR|CRITICAL|FATAL|Traceback|\bError\b|ended with")
# Seconds after which it is said which part is not there yet.
_PATIENCE_SECONDS = 20.0
_COLOURS = {
    "redis": "magenta",
    "worker": "green",
    "relay": "cyan",
    "flower": "yellow",
    "exporter": "yellow",
    "collector": "blue",
    "board": "yellow",
    "segment stub": "blue",
}


@click.command()
@click.option("--flower-port", type=click.IntRange(0, 65535), default=5555, show_default=True, help="0: any free port.")
@click.option("--no-flower", is_flag=True, help="Without Flower.")
@click.option("--board-port", type=click.IntRange(0, 65535), help="0: any free port [board.port].")
@click.option("--no-board", is_flag=True, help="Without the board.")
@click.option("--shop", is_flag=True, help="With a shop on the board, whose clicks you can watch. In development.")
@click.option(
    "--metrics-port", type=click.IntRange(0, 65535), help="Serve /metrics for Prometheus too; 0: any free port."
)
@click.option("-c", "--concurrency", type=click.IntRange(1), help="Deliveries at a time [worker.concurrency].")
@click.option("-q", "--quiet", is_flag=True, help="Only what goes wrong.")
def up(
    flower_port: int,
    no_flower: bool,
    board_port: int | None,
    no_board: bool,
    shop: bool,
    metrics_port: int | None,
    concurrency: int | None,
    quiet: bool,
) -> None:
    """Run everything on this machine until Ctrl-C: Redis, a worker, a relay, a stand-in for Segment, and two pages.

    The board shows where the events are, and Flower the workers, tasks and retries.

    Redis is started only where DISPATCHER_BROKER_URL is not set, the stand-in only for Segment destinations that have
    no write key, the collector only where collector.enabled is true. What is undelivered when it stops is there when it
    starts again.

    \b
    Then, from another terminal:
      dispatcher emit shop.order.paid --data '{"order": 17}'
      dispatcher status --watch
    """
    console = Console(highlight=False, soft_wrap=True)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stopped.set())
    loaded = config.read()
    settings = loaded.settings
    problems = check_options(settings, loaded.source)
    if problems:
        raise SettingsError(problems)
    if metrics_port is not None and not exporter.is_installed():
        raise click.UsageError(f"--metrics-port needs the exporter: {install_command('metrics')}")
    obstacle = launch.check()
    if obstacle is not None:
        raise DispatcherError(obstacle)
    start_sentry(settings, role="up")
    if shop:
        check_shop(settings, has_board=not no_board and board_command.is_installed())
    everything = _Up(settings, console, quiet=quiet)
    try:
        everything.start(
            flower_port=None if no_flower else flower_port,
            board_port=None if no_board else settings.board.port if board_port is None else board_port,
            metrics_port=metrics_port,
            concurrency=concurrency,
            shop=shop,
            stopped=stopped,
        )
        everything.run(stopped)
    finally:
        everything.stop()


class _Up:
    """The parts, and what the terminal shows about them."""

    def __init__(self, settings: config.Settings, console: Console, *, quiet: bool) -> None:
        self._settings = settings
        self._console = console
        self._quiet = quiet
        self._supervisor = Supervisor(self._relay_line, on_end=report_ended_process)
        self._pool = RedisPool(settings.store, timeout_seconds=2)
        self._store = BatchStore(self._pool)
        self._segment_stub: SegmentStub | None = None
        self._ledger_line = ""
        self._started_ms = int(time.time() * 1000)
        # The ports on which the parts have to answer before all is ready.
        self._ports: dict[str, tuple[str, int]] = {}
        self._kept_ports: list[KeptPort] = []
        # Where events are taken over HTTP; empty where they are not.
        self._collector_url = ""
        self._is_ready = self._is_stopping = False
        self._failing: set[str] = set()

    def start(
        self,
        *,
        flower_port: int | None,
        board_port: int | None,
        metrics_port: int | None,
        concurrency: int | None,
        shop: bool,
        stopped: threading.Event,
    ) -> None:
        settings = self._settings
        settings.state_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if settings.broker_url is None:
            self._start_redis()
        self._wait_for_redis(stopped)
        refuse_cluster(settings)
        if settings.browser_destinations:
            make_secret(settings)
        environ = self._start_segment_stub()
        worker = worker_arguments(
            queues=None, concurrency=concurrency, pool=settings.worker.pool, loglevel="WARNING", events=False, name=None
        )
        self._supervisor.start(Child("worker", worker, environ, silent_seconds=settings.worker.silent_seconds))
        self._start_relay()
        self._keep_pages_ports(flower_port, board_port)
        self._start_flower()
        self._start_board(has_shop=shop)
        if metrics_port is not None:
            port = self._keep_port(metrics_port)
            command = exporter.exporter_arguments(address="127.0.0.1", port=port)
            self._supervisor.start(Child("exporter", command))
            self._ports["exporter"] = ("127.0.0.1", port)
        self._start_collector()
        for name, table in settings.destinations.items():
            log = table.traits.log
            if table.enabled and log is not None:
                self._tell(name, f"writing {table.options[log]}")

    def run(self, stopped: threading.Event) -> None:
        told_at = time.monotonic()
        while not stopped.wait(0.25):
            self._supervisor.restart_ended()
            if not self._is_ready:
                missing = self._missing_parts()
                if not missing:
                    self._is_ready = True
                    over_http = f", or events over HTTP to {self._collector_url}" if self._collector_url else ""
                    way = f"`dispatcher emit NAME` from another terminal{over_http}"
                    self._tell("up", f"ready: {way}; Ctrl-C stops everything")
                elif time.monotonic() - told_at >= _PATIENCE_SECONDS:
                    told_at = time.monotonic()
                    self._say("up", f"not ready yet: {', '.join(missing)}")
            if not self._quiet:
                self._tell_ledger()

    def stop(self) -> None:
        if self._supervisor.is_idle:
            self._pool.close()
            return
        self._is_stopping = True
        self._tell("up", "stopping")
        self._supervisor.stop()
        if self._segment_stub is not None:
            self._segment_stub.stop()
        self._pool.close()
        self._tell("up", "stopped")

    def _start_redis(self) -> None:
        socket_file = socket_path(self._settings.state_directory)
        # Not the store's, which may be another Redis.
        embedded = RedisPool(self._settings.broker, timeout_seconds=2)
        with contextlib.suppress(StoreUnavailableError), contextlib.closing(embedded):
            embedded.execute("PING")
            raise DispatcherError(
                f"`dispatcher up` is running already for {self._settings.state_directory}; stop it, "
                "or set DISPATCHER_STATE_DIRECTORY to run another beside it"
            )
        server = find_server(self._settings.state_directory)
        self._supervisor.start(Child("redis", server_command(server, self._settings.state_directory)))
        self._tell("redis", f"{server}, {server.path}, on {socket_file}")

    def _wait_for_redis(self, stopped: threading.Event) -> None:
        deadline = time.monotonic() + _REDIS_SECONDS
        while not stopped.wait(0.05):
            try:
                self._pool.execute("PING")
            except StoreUnavailableError:
                self._supervisor.restart_ended()
                if time.monotonic() >= deadline:
                    raise
            else:
                return

    def _start_segment_stub(self) -> dict[str, str]:
        """Start the Segment stub if no write key is set. Returns the settings with which the worker finds it."""
        keyless = {
            name: table.traits.needs
            for name, table in self._settings.served_destinations.items()
            if table.traits.has_stub and not all(table.options.get(option) for option in table.traits.needs)
        }
        if not keyless:
            return {}
        kept = self._settings.state_directory / "segment-stub.jsonl"
        stub = SegmentStub(file=kept, on_request=lambda line: self._tell("segment stub", line)).start()
        self._segment_stub = stub
        self._tell("segment stub", f"no write key is set, so {stub.url} stands in for Segment and keeps {kept}")
        environ = {}
        for name, needs in keyless.items():
            environ[option_variable(name, "host")] = stub.url
            environ |= {option_variable(name, option): "local" for option in needs}
        return environ

    def _start_relay(self) -> None:
        root = self._settings.outbox_directory
        try:
            # So that the relay can show by its lock that it runs, also before anybody has emitted.
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise OutboxError(
                f"the outbox directory {root} cannot be made: {why}; mend it, or set DISPATCHER_OUTBOX__DIRECTORY"
            ) from error
        self._supervisor.start(Child("relay", launch.command("dispatcher", "relay")))

    def _keep_pages_ports(self, flower_port: int | None, board_port: int | None) -> None:
        """Choose the ports of both pages before one of them starts, since each links to the other."""
        if flower_port is not None:
            if is_installed():
                self._ports["flower"] = ("127.0.0.1", self._keep_port(flower_port))
            else:
                self._tell("flower", f"not installed; for the dashboard: {install_command('flower')}")
        if board_port is not None:
            if board_command.is_installed():
                host = reached_at(self._settings.board.host)
                self._ports["board"] = (host, self._keep_port(board_port, host))
            else:
                self._tell("board", f"not installed; for a page that shows all this: {install_command('board')}")

    def _start_flower(self) -> None:
        if "flower" not in self._ports:
            return
        _, port = self._ports["flower"]
        password = kept_password(self._settings.state_directory / "flower-password")
        environ = {"FLOWER_BASIC_AUTH": f"dispatcher:{password}"}
        board = self._ports.get("board")
        if board is not None and self._settings.board.url is None:
            environ["DISPATCHER_BOARD__URL"] = http_url(*board)
        self._supervisor.start(Child("flower", flower_arguments(address="127.0.0.1", port=port), environ))
        self._tell("flower", f"http://127.0.0.1:{port} (user dispatcher, password {password})")

    def _start_board(self, *, has_shop: bool) -> None:
        if "board" not in self._ports:
            return
        settings, flower = self._settings, self._ports.get("flower")
        try:
            _, password = find_login(settings)
        except (SettingsError, OSError) as error:
            del self._ports["board"]
            self._say("board", f"not started: {error}")
            return
        host, port = self._ports["board"]
        environ = {}
        if flower is not None and settings.board.flower_url is None:
            environ["DISPATCHER_BOARD__FLOWER_URL"] = http_url(*flower)
        if has_shop:
            self._ports["shop"] = (SHOP_HOST, self._keep_port(0))
            environ["DISPATCHER_BOARD__SHOP_URL"] = http_url(*self._ports["shop"])
            self._supervisor.start(shop_collector(self._ports["shop"][1], port))
            self._tell("shop", f"{http_url(host, port)}/shop, with the login of the board")
        self._supervisor.start(Child("board", board_command.board_arguments(port=port), environ))
        login = f"user {LOCAL_USER}, password {password}" if password else "the login is board.basic_auth"
        self._tell("board", f"{http_url(host, port)} ({login})")

    def _start_collector(self) -> None:
        table, sources = self._settings.collector, self._settings.sources
        if not table.enabled:
            if sources:
                self._tell("collector", "not started: for events over HTTP set DISPATCHER_COLLECTOR__ENABLED=true")
            return
        # Each would end it as soon as it starts, again and again.
        if not sources:
            self._say(
                "collector",
                "not started: it knows no source; add a table [sources.web] with a write_key, or set "
                'DISPATCHER_SOURCES=\'{"web": {"write_key": "…"}}\', and start `dispatcher up` again',
            )
            return
        if not collector_command.is_installed():
            self._say("collector", f"not started: it is not installed; {install_command('collector')}")
            return
        host = reached_at(table.host)
        port = self._keep_port(table.port, host) if table.processes == 1 else table.port
        self._ports["collector"] = (host, port)
        command = collector_command.collector_arguments("--port", str(port))
        self._supervisor.start(collector_command.child("collector", command, table))
        self._collector_url = http_url(host, port)
        self._tell("collector", f"{self._collector_url} for {', '.join(sources)}")

    def _keep_port(self, wanted: int, host: str = "127.0.0.1") -> int:
        """The wanted port, or any free one if it is taken. It stays so until this process ends."""
        try:
            self._kept_ports.append(KeptPort(wanted, host))
        except OSError as error:
            raise DispatcherError(f"no port can be had at {host}: {error.strerror}; set another address") from error
        return self._kept_ports[-1].number

    def _missing_parts(self) -> list[str]:
        """The parts that were started and do not answer yet."""
        missing = []
        try:
            counts = self._store.counts(list(self._settings.served_destinations))
        except StoreUnavailableError:
            return ["redis"]
        for name, one in counts.items():
            # Not a worker of an earlier run, which has had no time to be forgotten.
            if not any(worker.settings_ms >= self._started_ms for worker in one.workers or ()):
                missing.append(f"a worker for {name}")
        # Of this relay, or of an app that looks after dead processes already.
        if not are_dead_relayed(self._settings.outbox_directory):
            missing.append("relay")
        for part, address in self._ports.items():
            try:
                socket.create_connection(address, timeout=0.2).close()
            except OSError:
                missing.append(part)
        return missing

    def _relay_line(self, name: str, line: str) -> None:
        """Show a line of a part. With --quiet, only errors and what follows them, while it starts or stops."""
        if _ERROR.search(line):
            self._failing.add(name)
        is_routine = self._is_stopping or not self._is_ready or " INFO " in line or not line.strip()
        if not self._quiet or name in self._failing or not is_routine:
            self._say(name, line)

    def _tell_ledger(self) -> None:
        try:
            ledger = take_ledger(self._settings, self._store)
        except StoreUnavailableError:
            return
        line = ledger_line(ledger)
        if line and line != self._ledger_line:
            self._tell("ledger", line)
        self._ledger_line = line

    def _tell(self, name: str, line: str) -> None:
        if not self._quiet:
            self._say(name, line)

    def _say(self, name: str, line: str) -> None:
        colour = _COLOURS.get(name, "bold")
        self._console.print(f"[{colour}]{name:>12}[/] {escape(line)}")
