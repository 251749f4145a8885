"""A real Redis Cluster on loopback ports: three primaries, each with a replica that takes over from it."""

from __future__ import annotations

import random
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

import redis
import trustme

from dispatcher.local.redis_server import find_server
from tests.support.secured_redis import ADMIN
from tests.support.server import Server
from tests.support.waiting import wait_for

# Milliseconds without an answer after which a server counts as gone.
_NODE_TIMEOUT_MS: Final = 1000
_SLOTS: Final = 16_384
_PRIMARIES: Final = 3
# Servers talk to each other on a port that is so much higher, and must be valid.
_BUS: Final = 10_000
_PORTS: Final = range(11_000, 21_000)


class RedisClusterServers(Server):
    """Three primaries with about as many slots each, and their replicas.

    Args:
        program: The path of their program; the one that ``dispatcher up`` would take if none is given.
        users: Lines of an ACL file, ``user NAME …``, for servers that accept TLS connections only, with a certificate
            for 127.0.0.1, and have no replicas. None: neither logins nor TLS.
    """

    def __init__(self, *, program: str | None = None, users: str | None = None) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="dispatcher-cluster-"))
        self._program = program or find_server().path
        self._options: list[str] = []
        # As redis-py takes it, to inspect the servers.
        self._login: dict[str, Any] = {}
        #: The file with the certificate of the authority, where the servers have TLS.
        self.authority = self.directory / "ca.pem"
        if users is not None:
            self._secure(users)
        replicas = users is None
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self.ports = _ports(2 * _PRIMARIES if replicas else _PRIMARIES)

    @property
    def url(self) -> str:
        """As ``DISPATCHER_STORE_URL`` takes it; its first server does not exist."""
        return f"redis+cluster://127.0.0.1:1;127.0.0.1:{self.ports[1]};127.0.0.1:{self.ports[2]}"

    def url_of(self, user: str, password: str) -> str:
        """The same with TLS and a login."""
        return f"rediss+cluster://{user}:{password}@127.0.0.1:1;127.0.0.1:{self.ports[2]}?ssl_ca_certs={self.authority}"

    def start(self) -> Self:
        """Start all of them, and wait until the cluster serves every slot and each replica follows."""
        for port in self.ports:
            self._start(port)
        first = self.ports[0]
        for index, port in enumerate(self.ports):
            self.call(port, "CLUSTER", "SET-CONFIG-EPOCH", index + 1)
            if port != first:
                self.call(first, "CLUSTER", "MEET", "127.0.0.1", port)
        for index, port in enumerate(self.ports[:_PRIMARIES]):
            slots = range(index * _SLOTS // _PRIMARIES, (index + 1) * _SLOTS // _PRIMARIES)
            self.call(port, "CLUSTER", "ADDSLOTS", *slots)
        for port, primary in zip(self.ports[_PRIMARIES:], self.ports, strict=False):
            name = self.name_of(primary)
            wait_for(lambda port=port, name=name: name in self._text(port, "CLUSTER", "NODES"), what="a meeting")
            self.call(port, "CLUSTER", "REPLICATE", name)
        wait_for(self._is_complete, what="the cluster to be complete")
        return self

    def call(self, port: int, *command: Any) -> Any:
        """Send one command to one server, and return the answer."""
        with self._client(port) as client:
            return client.execute_command(*command)

    def name_of(self, port: int) -> str:
        """A server's name within the cluster."""
        return self._text(port, "CLUSTER", "MYID")

    def owner_of(self, key: str) -> int:
        """The port of the primary that has a key's slot now."""
        slot = self.slot_of(key)
        for first, last, primary, *_ in self.call(self._living(), "CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return int(primary[1])
        raise AssertionError(f"slot {slot} has no server")

    def primaries(self) -> list[int]:
        """The ports of all primaries, in the order of their slots."""
        return list(dict.fromkeys(int(row[2][1]) for row in sorted(self.call(self._living(), "CLUSTER", "SLOTS"))))

    def slot_of(self, key: str) -> int:
        """A key's slot."""
        return int(self.call(self._living(), "CLUSTER", "KEYSLOT", key))

    def kill(self, port: int) -> None:
        """End a server with -9."""
        self._processes[port].kill()
        self._processes[port].wait(60)

    def freeze(self, port: int) -> None:
        """Have a server answer nothing."""
        self._processes[port].send_signal(signal.SIGSTOP)

    def thaw(self, port: int) -> None:
        """Have it go on."""
        self._processes[port].send_signal(signal.SIGCONT)

    def cut_replication(self, port: int) -> int:
        """From now on a primary's replica gets nothing, so later writes are lost with the primary.

        Returns:
            The replica's port.
        """
        rows = self.call(port, "CLUSTER", "SLOTS")
        replica = next(int(row[3][1]) for row in rows if int(row[2][1]) == port)
        self.freeze(replica)
        self.call(port, "CLIENT", "KILL", "TYPE", "REPLICA")
        return replica

    def restart(self, port: int) -> None:
        """Start a server that was killed again, with its data."""
        self._start(port)

    def wait_for_another(self, key: str, port: int) -> None:
        """Wait until another server than this one has the slot of a key, and all slots are served."""
        wait_for(lambda: self._is_served() and self.owner_of(key) != port, what="a replica to take over")

    def close(self) -> None:
        """End all of them, and delete their data. May be called twice."""
        for process in self._processes.values():
            process.kill()
            process.wait(60)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _start(self, port: int) -> None:
        directory = self.directory / str(port)
        directory.mkdir(exist_ok=True)
        self._processes[port] = subprocess.Popen(
            [
                # Debian has the whole server in a tool of another name.
                *("redis-server", "--tls-port" if self._login else "--port", str(port), "--bind", "127.0.0.1"),
                *("--dir", str(directory), "--save", ""),
                *("--cluster-enabled", "yes", "--cluster-node-timeout", str(_NODE_TIMEOUT_MS)),
                *("--appendonly", "yes", "--repl-diskless-sync-delay", "0", "--loglevel", "warning", *self._options),
            ],
            executable=self._program,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_for(lambda: self._answers(port), what=f"the server on port {port} to answer")

    def _client(self, port: int) -> redis.Redis:
        return redis.Redis("127.0.0.1", port, socket_timeout=30, protocol=2, **self._login)

    def _secure(self, users: str) -> None:
        file, certificate = self.directory / "users.acl", self.directory / "server.pem"
        user, password = ADMIN
        file.write_text(f"{users.strip()}\nuser default off\nuser {user} on >{password} ~* &* +@all\n")
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.authority))
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(certificate))
        self._options = [
            *("--port", "0", "--tls-cluster", "yes", "--tls-auth-clients", "no", "--aclfile", str(file)),
            *("--tls-cert-file", str(certificate), "--tls-key-file", str(certificate)),
            *("--tls-ca-cert-file", str(self.authority)),
        ]
        self._login = {"username": user, "password": password, "ssl": True, "ssl_ca_certs": str(self.authority)}

    def _answers(self, port: int) -> bool:
        try:
            return bool(self.call(port, "PING"))
        except redis.RedisError:
            return False

    def _text(self, port: int, *command: Any) -> str:
        answer = self.call(port, *command)
        return answer.decode() if isinstance(answer, bytes) else str(answer)

    def _living(self) -> int:
        return next(port for port, process in self._processes.items() if process.poll() is None)

    def _is_served(self) -> bool:
        living = [port for port, process in self._processes.items() if process.poll() is None]
        return all("cluster_state:ok" in self._info(port) for port in living)

    def _is_complete(self) -> bool:
        replicas = self.ports[_PRIMARIES:]
        return self._is_served() and all(
            "master_link_status:up" in self._info(port, "replication") for port in replicas
        )

    def _info(self, port: int, section: str = "") -> str:
        with self._client(port) as client:
            command = ("INFO", section) if section else ("CLUSTER", "INFO")
            # As text, before redis-py makes a dict of it.
            connection = client.connection_pool.get_connection()
            connection.send_command(*command)
            return bytes(connection.read_response()).decode()


def _ports(count: int) -> list[int]:
    """Different free ports whose buses' ports are free too.

    All of them are below those that connections of other tests get from the kernel, and none is taken again soon.
    """
    found: list[int] = []
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as own, socket.socket() as bus, suppress(OSError):
            own.bind(("127.0.0.1", port))
            bus.bind(("127.0.0.1", port + _BUS))
            found.append(port)
        if len(found) == count:
            break
    return found
