"""A real RabbitMQ node on loopback ports, which any user can run; ``close`` leaves nothing of it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

import amqp
import trustme

from tests.support.ports import free_ports
from tests.support.server import Server
from tests.support.waiting import wait_for

# Debian's own program in /usr/sbin runs only as root or rabbitmq; it starts the first of these.
_PROGRAMS: Final = ("/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server")
#: The objects that the one user has all rights to, as in docs/how-to/scale.md.
RIGHTS: Final = "^(amq[.]default|tracking_log|segment|celeryev.*|.*celery[.]pidbox)$"
# Seconds that the start of the node may take on a busy machine.
_START_SECONDS: Final = 90.0


def find_rabbitmq() -> str | None:
    """The program to run; None if RabbitMQ is not installed."""
    if shutil.which("epmd") is None:
        return None
    return next((found for name in _PROGRAMS if (found := shutil.which(name))), None)


class RabbitMQServer(Server):
    """One node. ``start`` and ``stop`` may be called any number of times; queues and messages outlive a restart."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="dispatcher-rabbitmq-"))
        self._port, self._tls_port, self._distribution_port, self._epmd_port = free_ports(4)
        self._epmd: subprocess.Popen[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._log = self.directory / "node.log"
        self.authority = self.directory / "ca.pem"
        certificate = self.directory / "server.pem"
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.authority))
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(certificate))
        (self.directory / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self._port}\nlog.file = false\nlog.console = true\n"
            "log.console.level = warning\ndisk_free_limit.absolute = 1MB\n"
            + "".join(f"default_permissions.{what} = {RIGHTS}\n" for what in ("configure", "read", "write"))
            + f"listeners.ssl.1 = 127.0.0.1:{self._tls_port}\nlisteners.ssl.2 = 127.0.0.2:{self._tls_port}\n"
            f"ssl_options.cacertfile = {self.authority}\nssl_options.certfile = {certificate}\n"
            f"ssl_options.keyfile = {certificate}\nssl_options.verify = verify_none\n"
        )
        (self.directory / "enabled_plugins").write_text("[].\n")
        # Without a cookie here it would read the one in the developer's home directory, or leave one there.
        cookie = self.directory / ".erlang.cookie"
        cookie.write_text(os.urandom(16).hex())
        cookie.chmod(0o400)

    @property
    def url(self) -> str:
        """As ``DISPATCHER_BROKER_URL`` takes it."""
        return f"amqp://guest:guest@127.0.0.1:{self._port}//"

    def tls_url(self, *, host: str = "127.0.0.1", authority: Path | None = None) -> str:
        """The URL for TLS. The certificate is valid for 127.0.0.1 only; the node also listens on 127.0.0.2 with it."""
        return f"amqps://guest:guest@{host}:{self._tls_port}//?ssl_ca_certs={authority or self.authority}"

    @property
    def log(self) -> str:
        """The output of the node."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def start(self) -> Self:
        """Start it with its earlier data, and wait until it accepts connections."""
        assert self._process is None, "it runs already"
        program = find_rabbitmq()
        assert program is not None, "RabbitMQ is not installed"
        if self._epmd is None:
            # In the foreground: a port mapper that the node starts itself would outlive it.
            self._epmd = self._run("epmd", "-address", "127.0.0.1", "-port", str(self._epmd_port))
        self._process = self._run(program)
        wait_for(self._answers, _START_SECONDS, every=0.1, what=lambda: f"RabbitMQ to answer:\n{self.log}")
        return self

    def stop(self) -> None:
        """End it normally; connections are refused from now on. May be called twice."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it with -9."""
        self._end(signal.SIGKILL)

    def close(self) -> None:
        """End it and its port mapper, and delete its files. May be called twice."""
        self.kill()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait(60)
            self._epmd = None
        shutil.rmtree(self.directory, ignore_errors=True)

    def messages(self, queue: str) -> int:
        """The number of messages that wait in a queue, without those that a consumer has."""
        with self._connect() as connection:
            return int(connection.channel().queue_declare(queue, passive=True).message_count)

    def purge(self, *queues: str) -> None:
        """Drop the messages of queues that exist."""
        for queue in queues:
            with self._connect() as connection:
                try:
                    connection.channel().queue_purge(queue)
                except amqp.NotFound:
                    continue

    def _run(self, *arguments: str) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                arguments,
                cwd=self.directory,
                env=self._environ(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _environ(self) -> dict[str, str]:
        kept = {key: os.environ[key] for key in ("PATH", "LANG", "LC_ALL") if key in os.environ}
        return {
            **kept,
            "HOME": str(self.directory),
            "RABBITMQ_NODENAME": f"dispatcher-{self._port}@localhost",
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_CONF_ENV_FILE": str(self.directory / "none.conf"),
            "RABBITMQ_CONFIG_FILE": str(self.directory / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.directory / "none.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.directory / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.directory / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.directory / "log"),
            "RABBITMQ_PID_FILE": str(self.directory / "pid"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(self.directory / "config"),
            # Two threads, since the machine has few cores, and no port that others can reach.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._epmd_port),
        }

    def _connect(self) -> amqp.Connection:
        connection = amqp.Connection(f"127.0.0.1:{self._port}", connect_timeout=60, read_timeout=60, write_timeout=60)
        connection.connect()
        return connection

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"RabbitMQ ended with {self._process.returncode}:\n{self.log}"
        try:
            self._connect().close()
        except (OSError, amqp.AMQPError):
            return False
        return True

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        # The program is a script around the node, in a session of its own.
        os.killpg(self._process.pid, number)
        self._process.wait(60)
        self._process = None
        for pid in self._processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not self._processes(), what="RabbitMQ and what it has started to be gone")

    def _processes(self) -> list[int]:
        """The ids of the node's processes, but for epmd: their home is the test's own directory."""
        mark = f"HOME={self.directory}".encode()
        mapper = None if self._epmd is None else self._epmd.pid
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != mapper:
                with suppress(OSError):  # it has ended, or is another user's
                    if mark in (entry / "environ").read_bytes().split(b"\0"):
                        found.append(int(entry.name))
        return found
