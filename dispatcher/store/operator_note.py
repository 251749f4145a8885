"""OperatorNote: which command a person gave about a destination, and when. The latest ten stand beside its counters."""

from __future__ import annotations

import getpass
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import msgspec

from dispatcher.errors import StoreUnavailableError
from dispatcher.store import script
from dispatcher.store.script import ScriptCaller

if TYPE_CHECKING:
    from dispatcher.connections.redis_pool import RedisPool


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorNote:
    """What somebody did.

    Args:
        at_ms: When, in milliseconds since 1970, by the clock of Redis.
        who: The user and the host, such as ``alice@worker-1``; whoever used ``sudo``, and not whom that was for.
        command: What was done, with numbers and without anything of an event.
    """

    at_ms: int
    who: str
    command: str

    @classmethod
    def from_field(cls, text: str) -> tuple[Self, ...]:
        """Read what Redis has, the latest first; nothing where it is of a later version that says something else."""
        try:
            known = msgspec.json.decode(text or "[]", type=list[dict[str, Any]])
            return tuple(cls(at_ms=int(one["at"]), who=str(one["who"]), command=str(one["command"])) for one in known)
        except (msgspec.MsgspecError, KeyError, ValueError, TypeError):
            return ()


def note_command(pool: RedisPool, destination: str, command: str, *, user: str = "") -> None:
    """Note what somebody did to a destination. Blocks for one round trip.

    What was done is done: where Redis does not take the note, nothing is raised.

    Args:
        pool: The batch store's Redis.
        destination: Its name.
        command: The command and its outcome, such as ``dead drop: 12 dead letters``. Nothing of a person or an event.
        user: Who did it; empty: the user of this process.
    """
    try:
        user = user or os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a container's user, who has no name
        user = f"uid {os.getuid()}"
    arguments = {"who": f"{user}@{socket.gethostname()}"[:100], "command": command[:200]}
    try:
        ScriptCaller(pool).call(script.NOTE, destination, arguments)
    except StoreUnavailableError:
        return
