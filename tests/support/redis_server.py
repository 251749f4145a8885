"""A real Redis on a unix socket, which can be stopped, killed, frozen and started again with its earlier data."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Self

import redis

from dispatcher.local.redis_server import find_server
from tests.support.server import Server
from tests.support.waiting import wait_for


class RedisServer(Server):
    """One server. ``start`` and ``stop`` may be called any number of times.

    Args:
        maxmemory: In bytes. At this limit it refuses commands that need memory, as a production server should.
        program: The path of its program; the one that ``dispatcher up`` would take if none is given.
    """

    def __init__(self, *, maxmemory: int = 0, program: str | None = None) -> None:
        # Not under pytest's tmp_path, since the path of a socket may have at most 107 characters.
        self.directory = Path(tempfile.mkdtemp(prefix="dispatcher-redis-"))
        self.socket = self.directory / "redis.sock"
        self._maxmemory = maxmemory
        self._program = program or find_server().path
        self._process: subprocess.Popen[bytes] | None = None
        #: Variables for it in addition to this process's own.
        self.environ: dict[str, str] = {}

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self._process is not None, "it does not run"
        return self._process.pid

    @property
    def url(self) -> str:
        """As ``DISPATCHER_BROKER_URL`` takes it."""
        return f"redis+socket://{self.socket}"

    def start(self) -> Self:
        """Start it with its earlier data, and wait until it answers."""
        assert self._process is None, "it runs already"
        self._process = subprocess.Popen(
            [
                self._program,
                *("--port", "0", "--unixsocket", str(self.socket), "--unixsocketperm", "700"),
                # Written before each answer, so that a killed server still has what it acknowledged.
                *("--dir", str(self.directory), "--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
                *("--maxmemory", str(self._maxmemory), "--maxmemory-policy", "noeviction"),
                *("--daemonize", "no", "--loglevel", "warning"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, **self.environ},
        )
        wait_for(self._answers, what="Redis to answer")
        return self

    def stop(self) -> None:
        """End it normally; connections are refused from now on. May be called twice."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it with -9."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Kill -9 it and start it again with its earlier data."""
        self.kill()
        self.start()

    def wipe(self) -> None:
        """Kill -9 it and start it again empty, as if its disk was lost."""
        self.kill()
        self.forget()
        self.start()

    def forget(self) -> None:
        """Delete its data. For a server that does not run."""
        patterns = ("*.aof*", "appendonlydir", "*.rdb")
        for kept in [path for pattern in patterns for path in self.directory.glob(pattern)]:
            shutil.rmtree(kept) if kept.is_dir() else kept.unlink()

    def save_to(self, place: Path) -> None:
        """Copy its data so far, for ``bring_back``."""
        shutil.copytree(self.directory, place, ignore=shutil.ignore_patterns("*.sock"))

    def bring_back(self, place: Path) -> None:
        """Kill -9 it and start it again with copied data, as if it had lost everything since then."""
        self.kill()
        self.forget()
        shutil.copytree(place, self.directory, dirs_exist_ok=True)
        self.start()

    def freeze(self) -> None:
        """Send SIGSTOP: it accepts connections and answers nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Send SIGCONT: it carries out what was sent to it meanwhile."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """End it and delete its data. May be called twice."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def client(self) -> redis.Redis:
        """A connection to inspect its data or damage it."""
        return redis.Redis(unix_socket_path=str(self.socket), socket_timeout=30, protocol=2)

    def call(self, *command: object) -> object:
        """Send one command on a new connection, and return the answer."""
        with self.client() as client:
            return client.execute_command(*command)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"Redis ended with {self._process.returncode}"
        try:
            return bool(self.call("PING"))
        except redis.RedisError:
            return False

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "it does not run"
        self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        # One that is frozen gets no signal but SIGKILL until it goes on.
        self._process.send_signal(signal.SIGCONT)
        self._process.wait(60)
        self._process = None
