"""Servers: the Redis of a measurement, and a fast stand-in for Segment."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from http.client import HTTPConnection
from typing import Any, Final, Self
from urllib.parse import urlsplit

import redis

from dispatcher.local.redis_server import find_server
from tests.benchmarks.place import Place

# Seconds between two questions whether all messages are there: each takes the machine 0.2 ms.
_ASK_SECONDS: Final = 0.02


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

    @property
    def peak_bytes(self) -> int:
        """The most memory that it has used."""
        return int(self.client.info("memory")["used_memory_peak"])

    def script_times(self) -> tuple[int, int]:
        """How many scripts it has run so far, and the microseconds that they took."""
        counts = self.client.info("commandstats").get("cmdstat_evalsha", {})
        return int(counts.get("calls", 0)), int(counts.get("usec", 0))

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def commands(self) -> dict[str, int]:
        """How often each command was called, also from scripts; without those that ask for this."""
        found: dict[str, dict[str, Any]] = self.client.info("commandstats")
        return {
            name.removeprefix("cmdstat_"): int(counts["calls"])
            for name, counts in found.items()
            if name != "cmdstat_info"
        }

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
    """``tests.benchmarks.sink`` in its own process.

    Args:
        latency_seconds: How long each request waits for its answer.
    """

    def __init__(self, latency_seconds: float = 0.0) -> None:
        self._latency_seconds = latency_seconds

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.benchmarks.sink", str(self._latency_seconds)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        self._connection = HTTPConnection(urlsplit(self.url).netloc)
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """Kill it: connections are refused from now on. May be called twice."""
        self._process.kill()
        self._process.wait()

    def counts(self) -> dict[str, int]:
        """The numbers of ``requests``, their ``bytes``, ``messages``, and those ``unique`` by their messageId."""
        return self._ask("/")

    def waits(self) -> dict[str, Any]:
        """``counts``, the quantiles of the seconds from call to request (``waits``), and the longest ``by_second``."""
        return self._ask("/waits")

    def forget(self) -> None:
        """Begin to count anew."""
        self._ask("/forget")

    def wait_for(self, messages: int, *, timeout_seconds: float) -> int:
        """Wait until so many different messages have come, or for the timeout. Returns how many did."""
        deadline = time.monotonic() + timeout_seconds
        self.wait_for_any(messages, timeout_seconds=timeout_seconds)
        while (found := self.counts()["unique"]) < messages and time.monotonic() < deadline:
            time.sleep(_ASK_SECONDS)
        return found

    def wait_for_any(self, messages: int, *, timeout_seconds: float) -> None:
        """Wait until so many messages have come, repeats among them, or for the timeout. It costs hardly any CPU."""
        deadline = time.monotonic() + timeout_seconds
        while self._ask("/messages")["messages"] < messages and time.monotonic() < deadline:
            time.sleep(_ASK_SECONDS)

    def _ask(self, path: str) -> dict[str, Any]:
        self._connection.request("GET", path)
        found: dict[str, Any] = json.load(self._connection.getresponse())
        return found
