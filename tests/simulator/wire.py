"""Wire: one simulated process's connection to the store, which can be told to fail, and how."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import hiredis

from dispatcher.connections.redis_pool import Command, RedisPool
from dispatcher.errors import StoreUnavailableError
from tests.simulator.crossings import Killed
from tests.simulator.line import Line

if TYPE_CHECKING:
    from tests.simulator.world import World

#: refused: no command is carried out. unanswered: all are. partial: the first ones are. late: all are, but only after
#: others have continued.
Kind = Literal["refused", "unanswered", "partial", "late"]


@dataclass(slots=True)
class Fault:
    """A failure of one call.

    Args:
        kind: What happens to its commands.
        calls: How many calls succeed before it.
        fraction: With partial, the fraction of the commands that is carried out.
    """

    kind: Kind
    calls: int = 0
    fraction: float = 0.5


class Wire(RedisPool):
    """Sends commands to the run's Redis, unless a fault is set."""

    def __init__(self, world: World, pool: RedisPool | Line) -> None:
        self._world = world
        self._pool = pool
        self.fault: Fault | None = None
        #: The fraction of a call's commands that is carried out if the process is killed within the call.
        self.fraction_at_death = 0.0

    def execute_many(self, commands: Sequence[Command]) -> list[Any]:
        """As a RedisPool does."""
        try:
            self._world.ground.crossings.cross()
        except Killed:
            self._send(commands[: round(self.fraction_at_death * len(commands))])
            raise
        if self._world.store.is_down:
            raise StoreUnavailableError("the store is down")
        fault = self.fault
        if fault is None:
            return self._send(commands)
        if fault.calls > 0:
            fault.calls -= 1
            return self._send(commands)
        self.fault = None
        if fault.kind == "late":
            self._world.store.late.append(list(commands))
        elif fault.kind != "refused":
            self._send(commands if fault.kind == "unanswered" else commands[: round(fault.fraction * len(commands))])
        raise StoreUnavailableError(f"a call that was {fault.kind}")

    def carry_out(self, commands: Sequence[Command]) -> None:
        """Run commands whose answers nobody waits for."""
        with suppress(StoreUnavailableError):
            self._send(commands)

    def close(self) -> None:
        """Do nothing: the connection belongs to the run."""

    def _send(self, commands: Sequence[Command]) -> list[Any]:
        try:
            return self._pool.execute_many(list(commands)) if commands else []
        except (hiredis.ReplyError, StoreUnavailableError) as error:
            # The run's Redis always works, so the script has failed.
            self._world.problems.append(f"failed: {error}")
            raise StoreUnavailableError(str(error)) from error
