"""Sender: sends an attack over a connection of its own, and collects what comes back."""

from __future__ import annotations

import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from tests.fuzz.answers import Answer, parse_answers
from tests.fuzz.attack import Attack

# An answer that must come has that long, on a machine that others use too.
_PATIENCE_SECONDS: Final = 30.0
# Where none may come, nobody waits for long.
_IDLE_SECONDS: Final = 0.6
_DEAF_SECONDS: Final = 0.7
_RESET: Final = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of an attack.

    Args:
        answers: All that are complete.
        rest: Bytes behind them.
        error: What was wrong with the bytes; empty: nothing.
        is_reset: Whether the server reset the connection, so that answers may be lost.
        is_refused: Whether there was no connection at all.
        seconds: From the first byte to the last.
    """

    answers: list[Answer]
    rest: bytes = b""
    error: str = ""
    is_reset: bool = False
    is_refused: bool = False
    seconds: float = 0.0


def send(attack: Attack, port: int) -> Result:
    """Send it to a port of this machine. Blocks, up to half a minute where answers must come and do not."""
    began = time.monotonic()
    with socket.socket() as connection:
        if attack.end == "deaf":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.settimeout(_PATIENCE_SECONDS)
        try:
            connection.connect(("127.0.0.1", port))
        except OSError as error:
            return Result(answers=[], is_refused=True, error=f"no connection: {error}")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if attack.end == "deaf":
            connection.settimeout(_DEAF_SECONDS)
        # The server may have had enough before all was sent.
        with suppress(OSError):
            for number, part in enumerate(attack.parts):
                if number and attack.pause_seconds:
                    time.sleep(attack.pause_seconds)
                connection.sendall(part)
        if attack.end == "deaf":
            time.sleep(_DEAF_SECONDS)
        if attack.end in ("deaf", "reset"):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            return Result(answers=[], seconds=time.monotonic() - began)
        with suppress(OSError):
            if attack.end == "half":
                connection.shutdown(socket.SHUT_WR)
        connection.settimeout(_PATIENCE_SECONDS if attack.answers or attack.end == "half" else _IDLE_SECONDS)
        data, is_whole, is_reset = _read(connection, attack)
    seconds = time.monotonic() - began
    try:
        answers, rest = parse_answers(data, is_whole=is_whole, has_bodies=_has_bodies(attack))
    except ValueError as error:
        return Result(answers=[], rest=data, error=str(error), is_reset=is_reset, seconds=seconds)
    return Result(answers=answers, rest=rest, is_reset=is_reset, seconds=seconds)


def _read(connection: socket.socket, attack: Attack) -> tuple[bytes, bool, bool]:
    """All that comes, whether it came to its end, and whether the server reset the connection."""
    data = b""
    try:
        while part := connection.recv(262_144):
            data += part
            if attack.answers:
                answers, _ = parse_answers(data, is_whole=False, has_bodies=_has_bodies(attack))
                if len(answers) >= attack.answers:
                    return data, False, False
    except TimeoutError:
        return data, False, False
    except ValueError:  # no HTTP, which is said later
        return data, False, False
    except OSError:
        return data, True, True
    return data, True, False


def _has_bodies(attack: Attack) -> bool:
    return attack.call is None or attack.call[0] != "HEAD"
