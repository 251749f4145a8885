"""A real primary, a replica and a sentinel that monitors them, on loopback ports."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Final, Self

import redis

from dispatcher.local.redis_server import find_server
from tests.support.ports import free_ports
from tests.support.server import Server
from tests.support.waiting import wait_for

_NAME: Final = "events"
# Milliseconds without an answer after which the primary counts as down.
_DOWN_MS: Final = 500


class SentinelServers(Server):
    """Two servers, one of which is the primary at any time, and a sentinel."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="dispatcher-sentinel-"))
        *self._ports, self._sentinel_port = free_ports(3)
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def url(self) -> str:
        """As ``DISPATCHER_BROKER_URL`` takes it; its first sentinel does not exist."""
        return f"sentinel://127.0.0.1:1;127.0.0.1:{self._sentinel_port}/0?master_name={_NAME}"

    def start(self) -> Self:
        """Start all of them, and wait until the replica follows and the sentinel knows it."""
        first, second = self._ports
        self._start(first)
        self._start(second, "--replicaof", "127.0.0.1", str(first))
        configuration = self.directory / "sentinel.conf"
        configuration.write_text(
            f"port {self._sentinel_port}\nbind 127.0.0.1\nprotected-mode no\ndir {self.directory}\n"
            f"sentinel monitor {_NAME} 127.0.0.1 {first} 1\nsentinel down-after-milliseconds {_NAME} {_DOWN_MS}\n"
            f"sentinel failover-timeout {_NAME} 5000\n"
        )
        self._run(self._sentinel_port, str(configuration), "--sentinel")
        # Sentinels ask a primary for its replicas every ten seconds.
        wait_for(self._is_complete, what="the sentinel to see the replica")
        return self

    def primary(self) -> int:
        """The port of the server that is the primary according to the sentinel."""
        with self.client(self._sentinel_port) as client:
            return int(client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", _NAME)[1])

    def cut_replication(self) -> None:
        """From now on the replica gets nothing, so later writes are lost with the primary."""
        primary = self.primary()
        for port in self._ports:
            if port != primary:
                self._processes[port].send_signal(signal.SIGSTOP)
        with self.client(primary) as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "REPLICA")

    def thaw(self) -> None:
        """Let the replica run again."""
        for process in self._processes.values():
            process.send_signal(signal.SIGCONT)

    def kill_primary(self) -> int:
        """End the primary with -9. Returns its port."""
        port = self.primary()
        self._processes[port].kill()
        self._processes[port].wait(60)
        return port

    def wait_for_another(self, port: int) -> None:
        """Wait until another server than this one is the primary and accepts writes."""
        wait_for(lambda: self.primary() != port and self._role(self.primary()) == "master", what="a failover")

    def close(self) -> None:
        """End all of them, and delete their data. May be called twice."""
        for process in self._processes.values():
            process.kill()
            process.wait(60)
        shutil.rmtree(self.directory, ignore_errors=True)

    def client(self, port: int) -> redis.Redis:
        """A connection to inspect one of them."""
        return redis.Redis("127.0.0.1", port, socket_timeout=30, protocol=2)

    def _start(self, port: int, *arguments: str) -> None:
        directory = self.directory / str(port)
        directory.mkdir()
        options = ("--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory), "--save", "")
        self._run(port, *options, "--appendonly", "yes", "--repl-diskless-sync-delay", "0", *arguments)
        wait_for(lambda: self._role(port) is not None, what=f"the server on port {port} to answer")

    def _run(self, port: int, *arguments: str) -> None:
        self._processes[port] = subprocess.Popen(
            [find_server().path, *arguments, "--loglevel", "warning"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _role(self, port: int) -> str | None:
        try:
            with self.client(port) as client:
                return str(client.info("replication")["role"])
        except redis.RedisError:
            return None

    def _is_complete(self) -> bool:
        try:
            with self.client(self._ports[1]) as client:
                following = client.info("replication").get("master_link_status") == "up"
            with self.client(self._sentinel_port) as client:
                (replica,) = client.execute_command("SENTINEL", "REPLICAS", _NAME)
        except (redis.RedisError, ValueError):
            return False
        found = dict(zip(replica[::2], replica[1::2], strict=True))
        return following and found[b"master-link-status"] == b"ok"
