"""HTTP load: a client on raw sockets, as light as Python allows: it must never be what the server waits for."""

from __future__ import annotations

import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

_ANSWER_BYTES: Final = 65_536
_PATIENCE_SECONDS: Final = 30.0


class HttpLoad:
    """Connections that are kept open; each has one request under way at a time. For one thread.

    Args:
        port: On the loopback interface.
        next_request: The next request of a connection, head and body, by the connection's number from 0.
        answer: What stands at the end of each answer, which is read as far as that, in a status of 200.
    """

    def __init__(self, port: int, next_request: Callable[[int], bytes], answer: bytes, *, connections: int) -> None:
        self._next_request = next_request
        self._answer = answer
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._numbers: dict[int, int] = {}
        for number in range(connections):
            connection = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_SECONDS)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets[connection.fileno()] = connection
            self._numbers[connection.fileno()] = number
            self._poll.register(connection.fileno(), select.EPOLLIN)

    @classmethod
    @contextmanager
    def opened(
        cls, port: int, next_request: Callable[[int], bytes], answer: bytes, *, connections: int
    ) -> Iterator[HttpLoad]:
        """Connections that are closed at the end."""
        load = cls(port, next_request, answer, connections=connections)
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
        for fd in self._sockets:
            self._send(fd)
        while waiting:
            goes_on = time.perf_counter() < ends_at
            for fd in self._answered(_PATIENCE_SECONDS):
                answered += 1
                if goes_on:
                    self._send(fd)
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
                fd = free.popleft()
                due_by_connection[fd] = due
                self._send(fd)
                sent += 1
            pause = max(0.0, start + sent / rate - time.perf_counter()) if sent < count else _PATIENCE_SECONDS
            # epoll counts in milliseconds, too coarse for a rate of thousands: then it looks again and again.
            for fd in self._answered(_PATIENCE_SECONDS if not free else 0.0 if pause < 0.002 else pause):
                waits.append(time.perf_counter() - due_by_connection.pop(fd))
                free.append(fd)
        return waits

    def _send(self, fd: int) -> None:
        self._sockets[fd].sendall(self._next_request(self._numbers[fd]))

    def _answered(self, seconds: float) -> Iterator[int]:
        for fd, _ in self._poll.poll(seconds):
            text = self._sockets[fd].recv(_ANSWER_BYTES)
            while not text.endswith(self._answer):
                part = self._sockets[fd].recv(_ANSWER_BYTES)
                if not part:
                    raise AssertionError(f"the answer is not as expected: {text[:300]!r}")
                text += part
            if not text.startswith(b"HTTP/1.1 200"):
                raise AssertionError(f"the answer is not as expected: {text[:300]!r}")
            yield fd
