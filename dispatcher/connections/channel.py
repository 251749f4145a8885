"""Channel: a connected socket, with TLS or without, of which every use keeps to a deadline."""

from __future__ import annotations

import select
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from dispatcher.connections.deadline import Deadline

# Bytes that are received at a time.
_RECEIVE_BYTES: Final = 65_536


class ProtocolError(OSError):
    """The peer hung up too early, or sent something that the protocol does not allow. The text has none of it."""


class Channel:
    """Sends and receives within deadlines, and keeps what was received and not read yet. Not safe in threads.

    Args:
        connected: A ``socket.socket``, an ``ssl.SSLSocket``, or what works like one. The channel closes it.
    """

    def __init__(self, connected: Any) -> None:
        self.socket = connected
        #: What was received and is not read yet.
        self.buffer: Final = bytearray()
        #: How many bytes the system has taken for sending.
        self.sent_bytes = 0

    def send(self, data: bytes, deadline: Deadline) -> None:
        """Send all of some bytes. Blocks up to the deadline.

        Raises:
            OSError: The peer does not take them, or not in time (TimeoutError); it may have some of them.
        """
        unsent = memoryview(data)
        while unsent:
            self.socket.settimeout(deadline.left())
            sent = self.socket.send(unsent)
            self.sent_bytes += sent
            unsent = unsent[sent:]

    def receive(self, deadline: Deadline) -> bool:
        """Wait for more bytes, which the buffer has then. Returns whether any came: False once the peer hung up.

        Raises:
            OSError: The connection is broken, or nothing came in time (TimeoutError).
        """
        self.socket.settimeout(deadline.left())
        data = self.socket.recv(_RECEIVE_BYTES)
        self.buffer.extend(data)
        return bool(data)

    def read_line(self, deadline: Deadline, *, max_bytes: int) -> bytes:
        """Read one line, without its end, which is a line feed with or without a carriage return before it.

        Raises:
            ProtocolError: The peer hung up before the end of the line, or the line is longer than ``max_bytes``.
            OSError: As ``receive``.
        """
        seen = 0
        while (end := self.buffer.find(b"\n", seen)) < 0:
            seen = len(self.buffer)
            if seen > max_bytes:
                raise ProtocolError(f"sent a line of more than {max_bytes} bytes")
            if not self.receive(deadline):
                raise ProtocolError("hung up within a line")
        if end > max_bytes:
            raise ProtocolError(f"sent a line of more than {max_bytes} bytes")
        line = bytes(self.buffer[:end]).removesuffix(b"\r")
        del self.buffer[: end + 1]
        return line

    def read_into(self, read: bytearray, count: int, deadline: Deadline) -> int:
        """Append bytes to ``read``, as many as ``count`` says or until the peer hangs up. Returns how many came.

        What came before an error is in ``read`` as well.

        Raises:
            OSError: As ``receive``.
        """
        wanted = count
        while wanted and (self.buffer or self.receive(deadline)):
            taken = self.buffer[:wanted]
            read += taken
            del self.buffer[: len(taken)]
            wanted -= len(taken)
        return count - wanted

    @property
    def is_quiet(self) -> bool:
        """Whether it waits for the next request: the peer has neither hung up nor sent anything that nobody read."""
        if self.buffer:
            return False
        poll = select.poll()
        try:
            poll.register(self.socket, select.POLLIN)
            return not poll.poll(0)
        except (OSError, ValueError):  # closed
            return False

    def close(self) -> None:
        """Close the connection. May be called twice."""
        with suppress(OSError):
            # Not shutdown(), which would wait for a TLS peer.
            self.socket.close()
