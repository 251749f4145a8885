"""HTTP load: a client on raw sockets, as light as Python allows: it must never be what the server waits for."""

from __future__ import annotations

import select
import socket
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_ANSWER_BYTES: Final = 65_536
_PATIENCE_SECONDS: Final = 30.0


class HttpLoad:
    """Connections that are kept open; each has one request under way at a time. For one thread.

    Args:
        port: On the loopback interface.
        requests: Whole requests, head and body, endless.
        answer: What stands at the end of each answer, which is read as far as that, in a status of 200.
    """

    def __init__(self, port: int, requests: Iterator[bytes], answer: bytes, *, connections: int) -> None:
        self._requests = requests
        self._answer = answer
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        for _ in range(connections):
            connection = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_SECONDS)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets[connection.fileno()] = connection
            self._poll.register(connection.fileno(), select.EPOLLIN)

    @classmethod
    @contextmanager
    def opened(cls, port: int, requests: Iterator[bytes], answer: bytes, *, connections: int) -> Iterator[HttpLoad]:
        """Connections that are closed at the end."""
        load = cls(port, requests, answer, connections=connections)
        try:
            yield load
        finally:
            load._poll.close()
            for connection in load._sockets.values():
                connection.close()

    def as_fast_as_it_goes(self, seconds: float) -> int:
        """Send the next request of a connection once it has its answer. Returns how many were answered."""
        ends_at = time.perf_counter() + seconds
        answered, waiting = 0, len(self._sockets)
        for connection in self._sockets.values():
            connection.sendall(next(self._requests))
        while waiting:
            goes_on = time.perf_counter() < ends_at
            for number in self._answered(_PATIENCE_SECONDS):
                answered += 1
                if goes_on:
                    self._sockets[number].sendall(next(self._requests))
                else:
                    waiting -= 1
        return answered

    def at_rate(self, rate: float, seconds: float) -> list[float]:
        """Send at a steady rate, whatever is answered. Returns the seconds from when each was due to its answer."""
        free = deque(self._sockets)
        due_by_connection: dict[int, float] = {}
        waits: list[float] = []
        count = int(rate * seconds)
        start, sent = time.perf_counter(), 0
        while len(waits) < count:
            now = time.perf_counter()
            while sent < count and free and (due := start + sent / rate) <= now:
                number = free.popleft()
                due_by_connection[number] = due
                self._sockets[number].sendall(next(self._requests))
                sent += 1
            pause = max(0.0, start + sent / rate - time.perf_counter()) if sent < count else _PATIENCE_SECONDS
            # epoll counts in milliseconds, too coarse for a rate of thousands: then it looks again and again.
            for number in self._answered(_PATIENCE_SECONDS if not free else 0.0 if pause < 0.002 else pause):
                waits.append(time.perf_counter() - due_by_connection.pop(number))
                free.append(number)
        return waits

    def _answered(self, seconds: float) -> Iterator[int]:
        for number, _ in self._poll.poll(seconds):
            text = self._sockets[number].recv(_ANSWER_BYTES)
            while not text.endswith(self._answer):
                part = self._sockets[number].recv(_ANSWER_BYTES)
                if not part:
                    raise AssertionError(f"the answer is not as expected: {text[:300]!r}")
                text += part
            if not text.startswith(b"HTTP/1.1 200"):
                raise AssertionError(f"the answer is not as expected: {text[:300]!r}")
            yield number
