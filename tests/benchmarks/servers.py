"""Servers: the Redis of a measurement, and a fast stand-in for Segment."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from typing import Self
from urllib.request import urlopen

import redis

from dispatcher.local.redis_server import find_server
from tests.benchmarks.place import Place


class RedisServer:
    """A Redis on a unix socket in the place, append-only and synced every second."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._process: subprocess.Popen[bytes] | None = None
        self.client = redis.Redis(unix_socket_path=str(place.redis_socket), socket_timeout=30)

    def __enter__(self) -> Self:
        place = self._place
        data = place.directory / "redis"
        data.mkdir(exist_ok=True)
        self._process = subprocess.Popen(
            [
                find_server().path,
                *("--port", "0", "--unixsocket", str(place.redis_socket), "--unixsocketperm", "700"),
                *("--dir", str(data), "--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
                *("--maxmemory-policy", "noeviction", "--loglevel", "warning"),
            ]
        )
        self._wait_until_ready()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def suspend(self) -> None:
        """Send SIGSTOP: it accepts connections and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill it: connections are refused from now on. May be called twice."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    @property
    def used_bytes(self) -> int:
        """The memory that Redis uses, as it reports it."""
        return int(self.client.info("memory")["used_memory"])

    def _wait_until_ready(self, seconds: float = 10.0) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.client.ping()
            except redis.ConnectionError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(0.005)
            else:
                return


class SegmentSink:
    """``tests.benchmarks.sink`` in its own process."""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.benchmarks.sink"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """Kill it: connections are refused from now on. May be called twice."""
        self._process.kill()
        self._process.wait()

    def counts(self) -> dict[str, int]:
        """The number of ``messages`` that have come, and how many were ``unique`` by their messageId."""
        with urlopen(self.url) as answer:  # noqa: S310 - our own, on the loopback
            found: dict[str, int] = json.load(answer)
            return found
